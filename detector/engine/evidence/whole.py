"""Evidence that is not about single queries of one client: its novelty, conduct and harm, and campaigns of many accounts.

This file holds the words for it. `engine.models.novelty`, `engine.memory.conduct`, `engine.odometer` and `engine.links` measure
it.
"""

from detector.engine.evidence.channel import EvidenceType

NOVELTY = EvidenceType(
    name="novelty",
    kind="novelty",
    title="Unlike every known benign client",
    description="The client's queries differ from every benign profile.",
    meaning="queries are, taken together, unlike those of every known benign client",
    lookalike="a new device, a mirrored or filtered camera, a customer with new kinds of data, or an explainer is as strange",
)
REFUSED = EvidenceType(
    name="refused",
    kind="novelty",
    title="Queries that cannot be read",
    description="Far more of the client's queries cannot be used than of others; it is not watched.",
    meaning="queries could not be used",
    lookalike="a client that sends another schema, or one with a broken serializer, is refused as often",
)
REUSED = EvidenceType(
    name="reused",
    kind="novelty",
    title="One id for different queries",
    description="The client gives the id of one query to others far more often than others do.",
    meaning="queries came under the id of another query",
    lookalike="a load test that sends one request id does the same",
)
CAMPAIGN = EvidenceType(
    name="campaign",
    kind="construction",
    title="Accounts that work on one copy",
    description="Queries of many accounts are made from each other's: one theft, spread so that no account asks much.",
    meaning="queries of several accounts are made from each other's, as those of one thief with many accounts are",
    lookalike="an organisation that deals an explainer's or a slider's queries over many keys comes closest",
)
HARM = EvidenceType(
    name="harm",
    kind="harm",
    title="Budget of the model used up",
    description="What the client was told is enough for as good a copy of the model as its budget allows.",
    meaning="a copy of the model, learned from what the client was told, is as good as its budget allows",
    lookalike="an innocent client with as many varied queries holds as much: the odometer measures, and does not know intent",
)
