"""Outputs of the engine before they are rendered: findings (for alerts), pending decisions, refusals (dead-letter records)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from detector.engine.links.sketch import Sketches
from detector.ingest.batch import Sender

Kind = Literal["novelty", "construction", "harm"]
Subject = Literal["client", "campaign", "organization"]


@dataclass(frozen=True, slots=True)
class Unfamiliar:
    """A client that is unlike every known one, though it does not learn more than usual: `score` without sides.

    `profile` is the number of the nearest profile, and `features` are the names of what deviates most, each with its side.
    Clients of one kind share both.
    """

    score: float
    profile: int
    features: tuple[str, ...]


class Reading(NamedTuple):
    """What one client holds of a model after so many `queries`, as the odometer reads it (see `odometer.reading`).

    `lead` is how far a copy is from the best guess (0) to the model itself (1); the interval from `low` to `high` holds it in
    95 of 100 cases. `agreement` is the share of the reference inputs to which the copy gives the model's label.
    """

    queries: int
    agreement: float
    lead: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FindingReason:
    """One figure behind a finding: what was observed, what is usual, and which queries show it.

    `low`, `median` and `high` are the 5%, 50% and 95% among benign clients, and `threshold` is the threshold that was passed. A
    figure that does not exist is None, never NaN. `weight` is its share of the score, from 0 to 1.
    """

    kind: Kind
    name: str
    value: float
    weight: float
    text: str
    low: float | None = None
    median: float | None = None
    high: float | None = None
    threshold: float | None = None
    event_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CampaignMember:
    """An account of a campaign; `address` is set where its identity is not vouched for."""

    client: str
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A client passed a threshold. `action` is what the evidence calls for, within the limits of policy.

    `emitted` is the stream position at which it was found, and `sequence` the position of the query that caused it. They differ
    only for queries that waited while a model was learned. Times are event times in milliseconds. `odometer` is the client's
    highest reading, None where there is none.

    A finding about a campaign has `members`, the accounts that are named, and `client` is the campaign's id. One about an
    organisation has those of its accounts that asked most, and `client` is its name. The `odometer` of both is what the
    accounts hold together.
    """

    emitted: int
    sequence: int
    alert_id: str
    time_ms: int
    first_ms: int
    client: str
    model: str
    version: str | None
    sender: Sender
    queries: int
    look: int
    kind: Kind
    evidence: str
    action: int
    score: float
    risk: float
    reasons: tuple[FindingReason, ...]
    features: Mapping[str, float]
    simulated: bool
    members: tuple[CampaignMember, ...] = ()
    odometer: Reading | None = None
    subject: Subject = "client"


@dataclass(frozen=True, slots=True)
class PendingDecision:
    """A decision to publish: what the gateway should do about a client, and until when.

    `address` is set where the identity is not vouched for: the decision then holds for queries from that address alone. A
    decision about a campaign has `members`, and `client` is the campaign's id; of one about an organisation it is the name.
    `requests_per_minute` is the rate of a throttle where it is the client's own, None where it is that of the policy.
    """

    emitted: int
    sequence: int
    decision_id: str
    revision: int
    supersedes: str | None
    client: str
    address: str | None
    model: str
    action: int
    issued_ms: int
    expires_ms: int
    evidence: str
    text: str
    risk: float
    alert_id: str
    simulated: bool
    members: tuple[CampaignMember, ...] = ()
    requests_per_minute: int | None = None
    subject: Subject = "client"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Stops of a model's clients are held back: so many clients since `first_ms`, the one named last; `text` says why."""

    emitted: int
    sequence: int
    alert_id: str
    time_ms: int
    first_ms: int
    client: str
    model: str
    version: str | None
    sender: Sender
    queries: int
    clients: int
    text: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class EngineRefusal:
    """A well-formed event that cannot be used: too late, of another dimension than its model's, or with a value missing."""

    sequence: int
    reason: Literal["late", "dimension", "not_finite"]
    detail: str
    client: str
    model: str


@dataclass(frozen=True, slots=True)
class Report:
    """The current state of a client, for the list of clients.

    `refused` counts its queries that could not be used, by reason, and `reused` its queries under an id that another query had
    before. `address` is set where the identity is not vouched for: the report then covers queries from that address alone.
    `unfamiliar` says in what the client is unlike every known one, where it is and nothing was alerted on. `odometer` is its
    highest reading, None where there is none. `emitted` is the
    stream position at which the client was forgotten, -1 while it is held.
    """

    client: str
    model: str
    queries: int
    highest: int
    evidence: Mapping[str, float]
    features: Mapping[str, float]
    refused: Mapping[str, int]
    reused: int
    address: str | None = None
    unfamiliar: Unfamiliar | None = None
    emitted: int = -1
    odometer: Reading | None = None


@dataclass(slots=True)
class Outputs:
    """The outputs for a batch, in stream order; `departed` are clients that were forgotten to make room.

    `held_back` says that stops were held back; each of it becomes an alert, as a finding does. `sketches` are the fresh queries
    as the search for links between accounts takes them, of models with a baseline. `readings` counts readings of the odometer.
    """

    findings: list[Finding] = field(default_factory=list)
    pending_decisions: list[PendingDecision] = field(default_factory=list)
    refusals: list[EngineRefusal] = field(default_factory=list)
    departed: list[Report] = field(default_factory=list)
    held_back: list[HeldBack] = field(default_factory=list)
    sketches: list[Sketches] = field(default_factory=list)
    repeated: int = 0
    readings: int = 0

    def add(self, other: "Outputs") -> None:
        """Append the contents of other outputs."""
        self.findings += other.findings
        self.pending_decisions += other.pending_decisions
        self.refusals += other.refusals
        self.departed += other.departed
        self.held_back += other.held_back
        self.sketches += other.sketches
        self.repeated += other.repeated
        self.readings += other.readings

    def sort(self) -> None:
        """Sort all outputs into stream order, whichever model or shard they come from."""
        self.findings.sort(key=lambda finding: (finding.emitted, finding.sequence))
        self.held_back.sort(key=lambda held: (held.emitted, held.sequence))
        self.pending_decisions.sort(key=lambda decision: (decision.emitted, decision.sequence))
        self.refusals.sort(key=lambda refusal: refusal.sequence)
        self.departed.sort(key=lambda report: report.emitted)
