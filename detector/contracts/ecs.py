"""The field sets of the Elastic Common Schema (ECS) that an alert fills, and the facts that never change.

Field names, allowed values and which fields are arrays follow ECS 9.4.0; threat ids are those of MITRE ATLAS 5.6.1.
"""

import ipaddress
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from detector.contracts.decision import Action
from detector.contracts.document import Document, Texts
from detector.contracts.moment import Instant

__all__ = [
    "ATLAS_VERSION",
    "DATASET",
    "ECS_VERSION",
    "SEVERITY",
    "TAGS",
    "Client",
    "DataStream",
    "Ecs",
    "Event",
    "EventType",
    "Labels",
    "Observer",
    "Organization",
    "Outcome",
    "Related",
    "Rule",
    "Service",
    "Severity",
    "SeverityCode",
    "Source",
    "Subtechnique",
    "Tactic",
    "Technique",
    "Threat",
    "User",
    "address",
]

ECS_VERSION: Final = "9.4.0"
ATLAS_VERSION: Final = "5.6.1"
DATASET: Final = "detector.alert"
TAGS: Final = ("model-extraction", "owasp:ML05", "owasp:LLM10", "atlas:AML.T0024.002")

Severity = Literal["low", "medium", "high", "critical"]
SeverityCode = Literal[21, 47, 73, 99]
SEVERITY: Final[dict[Severity, SeverityCode]] = {"low": 21, "medium": 47, "high": 73, "critical": 99}

EventType = Literal["info", "denied", "allowed"]
Outcome = Literal["success", "failure", "unknown"]

_ATLAS = "https://atlas.mitre.org"


def _ip(text: str) -> str:
    if address(text) is None:
        raise ValueError("not an IP address")
    return text


def address(text: str | None) -> str | None:
    """Return `text` where it is a plain IPv4 or IPv6 address, else None.

    Logs hold host names, ``unknown`` and addresses with a port too; an ECS field of type ``ip`` must not. A zone
    (``fe80::1%eth0``) is refused, since Elasticsearch refuses it.

    >>> address("203.0.113.7"), address("203.0.113.7:443")
    ('203.0.113.7', None)
    """
    if text is None or "%" in text:
        return None
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text


Ip = Annotated[str, AfterValidator(_ip)]
Texts1 = Annotated[Texts, Field(min_length=1)]


class Ecs(Document):
    """The version of ECS that the document follows."""

    version: str = ECS_VERSION


class DataStream(Document):
    """Where Elasticsearch keeps it: ``logs-detector.alert-<namespace>``; a namespace holds no hyphen."""

    type: Literal["logs"] = "logs"
    dataset: Literal["detector.alert"] = DATASET
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")] = "default"


class Event(Document):
    """ECS ``event``: what happened and how grave it is; `start` to `end` is the span of the client's queries."""

    id: Annotated[str, Field(min_length=1, max_length=512, description="deterministic; also the document's _id")]
    kind: Literal["alert"] = "alert"
    category: Annotated[tuple[Literal["intrusion_detection"], Literal["api"]], Field(strict=False)] = (
        "intrusion_detection",
        "api",
    )
    type: Annotated[tuple[EventType], Field(strict=False)]
    action: Action
    outcome: Annotated[Outcome, Field(description="whether the decision was published")] = "unknown"
    module: Literal["detector"] = "detector"
    dataset: Literal["detector.alert"] = DATASET
    provider: Literal["detector"] = "detector"
    code: Annotated[str, Field(description="id of the rule, such as extraction.offset")]
    reason: Annotated[str, Field(description="why, in words and numbers")]
    severity: SeverityCode
    risk_score: Annotated[float, Field(ge=0, le=100)]
    risk_score_norm: Annotated[float, Field(ge=0, le=100)]
    start: Instant
    end: Instant
    created: Instant


class Rule(Document):
    """ECS ``rule``: the detector that fired."""

    id: str
    uuid: str | None = None
    name: str
    version: str
    category: Literal["model_extraction"] = "model_extraction"
    ruleset: str = "detector-default"
    description: str | None = None
    reference: str = f"{_ATLAS}/techniques/AML.T0024.002"


class Subtechnique(Document):
    """Extract AI Model."""

    id: Texts1 = ("AML.T0024.002",)
    name: Texts1 = ("Extract AI Model",)
    reference: Texts1 = (f"{_ATLAS}/techniques/AML.T0024.002",)


class Technique(Document):
    """Exfiltration via AI Inference API."""

    id: Texts1 = ("AML.T0024",)
    name: Texts1 = ("Exfiltration via AI Inference API",)
    reference: Texts1 = (f"{_ATLAS}/techniques/AML.T0024",)
    subtechnique: Subtechnique = Subtechnique()


class Tactic(Document):
    """Exfiltration."""

    id: Texts1 = ("AML.TA0010",)
    name: Texts1 = ("Exfiltration",)
    reference: Texts1 = (f"{_ATLAS}/tactics/AML.TA0010",)


class Threat(Document):
    """ECS ``threat``: the same for every alert, since the service looks for one thing."""

    framework: Literal["MITRE ATLAS"] = "MITRE ATLAS"
    tactic: Tactic = Tactic()
    technique: Technique = Technique()


class User(Document):
    """ECS ``user``: the client as the log names it."""

    id: str
    name: str


class Source(Document):
    """ECS ``source``: `address` as logged, `ip` only where that is an address."""

    address: str
    ip: Ip | None = None


class Client(Document):
    """ECS ``client``."""

    ip: Ip


class Service(Document):
    """ECS ``service``: the model; ECS has no field set of its own for classic models."""

    name: str
    version: str | None = None
    type: Literal["ml-model"] = "ml-model"


class Observer(Document):
    """ECS ``observer``: this program."""

    vendor: Literal["detector"] = "detector"
    product: Literal["detector"] = "detector"
    type: Literal["ids"] = "ids"
    version: str | None = None


class Related(Document):
    """ECS ``related``: values to pivot on."""

    ip: Annotated[tuple[Ip, ...] | None, Field(strict=False, min_length=1)] = None
    user: Texts1


class Organization(Document):
    """ECS ``organization``."""

    id: str


class Labels(Document):
    """ECS ``labels``: flat keywords only, so `shadow` is text."""

    model_id: str
    model_version: str | None = None
    shadow: Literal["true", "false"]
    atlas_version: str = ATLAS_VERSION
