"""What crosses the edge: prediction events in; alerts, decisions and dead-letter records out.

Others build on these documents, so they change only together with their JSON Schema (`schema`) and golden examples.
pydantic stays here: inside, events are columns of a batch.
"""

from detector.contracts.alert import Alert
from detector.contracts.dead_letter import DeadLetter
from detector.contracts.decision import LADDER, Action, Decision, rank
from detector.contracts.document import to_json
from detector.contracts.event import PredictionEvent
from detector.contracts.moment import parse_rfc3339, rfc3339

__all__ = [
    "LADDER",
    "Action",
    "Alert",
    "DeadLetter",
    "Decision",
    "PredictionEvent",
    "parse_rfc3339",
    "rank",
    "rfc3339",
    "to_json",
]
