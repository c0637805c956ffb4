"""The decision: what gateways shall do about a subject, and until when.

Decisions live on a compacted topic with one live record per `key`; a gateway reads the topic from its beginning before it
serves, then follows. Manual decisions have keys of their own. Of several in force about a subject the hardest holds, but a
manual ``allow`` against all of the detector's. So each record stands alone: an absolute `expires_at` that gateways enforce by
their own clock, a `revision` that grows per key (drop what is not greater), and an explicit ``allow`` to lift. ``simulated``
decisions are counted and not enforced. The reason for the caller (`reason.user`) names no threshold and no detector: that
would teach.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal, get_args

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from detector.contracts.document import Document, Texts
from detector.contracts.moment import Timestamp, parse_rfc3339

__all__ = [
    "CLIENT_KINDS",
    "LADDER",
    "THROTTLED_TOO",
    "Action",
    "Decision",
    "Level",
    "Member",
    "Origin",
    "Parameters",
    "Reason",
    "Risk",
    "Scope",
    "Subject",
    "SubjectType",
    "escaped",
    "key_end",
    "rank",
]

Action = Literal["allow", "alert", "throttle", "perturb", "block"]
SubjectType = Literal["client", "api_key", "user", "organization", "ip", "cidr", "campaign"]
Origin = Literal["detector", "manual", "import"]
Level = Literal["LOW", "MEDIUM", "HIGH"]
ORIGINS: Final[tuple[Origin, ...]] = ("detector", "import", "manual")
"""Who decides; an ``allow`` of a later one holds against all of the earlier ones."""

CLIENT_KINDS: Final[tuple[SubjectType, ...]] = ("client", "api_key", "user")
"""Types of subject that a gateway compares with the client's name."""

THROTTLED_TOO: Final = "-throttled"
"""Ends the subject of the decision about the accounts of a campaign that may not be stopped."""

LADDER: Final[tuple[Action, ...]] = get_args(Action)
"""Actions from mildest to hardest."""

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# A model id that holds a separator would let one key stand for two subjects.
_ESCAPES = str.maketrans({"%": "%25", ":": "%3A", ",": "%2C", "*": "%2A"})

Count = Annotated[int, Field(ge=0)]


def rank(action: str) -> int:
    """Place on the ladder, from 0 for ``allow``; compares how hard two actions are.

    A level that this version does not know ranks as ``alert``: a later version may add one, and a gateway must
    neither fail nor block on it.

    >>> rank("throttle") < rank("block"), rank("quarantine") == rank("alert")
    (True, True)
    """
    return next((place for place, known in enumerate(LADDER) if known == action), LADDER.index("alert"))


def escaped(name: str) -> str:
    """Return the name of a model, or an address, as it stands in a key.

    >>> escaped("a:b")
    'a%3Ab'
    """
    return name.translate(_ESCAPES)


def key_end(models: Iterable[str] | None, address: str | None = None) -> str:
    """Return what follows a subject in a key: its models, or ``*`` for all, and the address it is bound to.

    >>> key_end(["b", "a"]), key_end(None), key_end(["a"], "192.0.2.7")
    ('a,b', '*', 'a*192.0.2.7')
    """
    where = ",".join(sorted(map(escaped, models))) if models else ""
    return (where or "*") + ("" if address is None else f"*{escaped(address)}")


class Subject(Document):
    """Whom the decision is about; `issuer` says who vouches for the id.

    Where nobody does, `address` is the network address that the queries came from, and the decision holds for queries under the
    id that come from there: under a name that anybody can write, others must not be met.
    """

    type: SubjectType
    id: Annotated[str, Field(min_length=1)]
    issuer: str | None = None
    address: Annotated[
        str | None, Field(min_length=1, description="the id is not vouched for: only what comes from there is meant")
    ] = None


class Member(Document):
    """An account of a campaign; `address` is there where nobody vouches for the id, as in `Subject`."""

    id: Annotated[str, Field(min_length=1)]
    address: Annotated[str | None, Field(min_length=1)] = None


class Scope(Document):
    """Where it holds. Absent parts mean everywhere."""

    models: Annotated[Texts | None, Field(min_length=1)] = None
    routes: Texts | None = None


class Parameters(Document):
    """How the action is carried out: a rate for throttle, coarser answers for perturb, a status for block."""

    requests_per_minute: Count | None = None
    retry_after_seconds: Count | None = None
    decimals: Count | None = None
    labels_only: bool | None = None
    status_code: Annotated[int | None, Field(ge=400, le=599)] = None


class Reason(Document):
    """Why, twice: `admin` for the operator, `user` for the caller."""

    code: str
    admin: str
    user: Annotated[str | None, Field(description="may be shown to the caller: no thresholds, no detector names")] = None


class Risk(Document):
    """How sure the detector is, from 0 to 100, and how that changed."""

    score: Annotated[float | None, Field(ge=0, le=100)] = None
    level: Level | None = None
    previous_level: Level | None = None


class Decision(Document):
    """One decision about one subject.

    >>> decision = Decision(
    ...     decision_id="018f3c2e-7d1a-5c1e-9a55-2f0c4a0e7b11", revision=1, subject=Subject(type="client", id="acme"),
    ...     scope=Scope(models=("fraud",)), action="block", issued_at="2026-05-04T10:31:07.000Z",
    ...     expires_at="2026-05-04T11:31:07.000Z", reason=Reason(code="extraction.offset", admin="flat steps"),
    ...     origin="detector", simulated=False)
    >>> decision.key, decision.expires_ms
    ('client:acme:fraud', 1777894267000)
    """

    model_config = ConfigDict(
        title="Access decision for one subject",
        json_schema_extra={
            "description": "Key: subject type, subject id and model, after the origin unless that is the detector. Gateways"
            " drop a revision that does not grow within its key, enforce expires_at by their own clock, treat an action they do"
            " not know as alert, and carry out the hardest in force; a manual allow holds against the detector's.",
            "allOf": [
                {
                    "if": {"properties": {"action": {"const": "throttle"}}},
                    "then": {
                        "required": ["parameters"],
                        "properties": {"parameters": {"required": ["requests_per_minute"]}},
                    },
                },
                {"if": {"properties": {"origin": {"const": "manual"}}}, "then": {"required": ["actor"]}},
            ],
        },
    )

    # Not Literal[1], which would let true pass.
    schema_version: Annotated[int, Field(ge=1, le=1), WithJsonSchema({"const": 1})] = 1
    decision_id: Annotated[
        str,
        Field(pattern=_UUID, json_schema_extra={"format": "uuid"}, description="the same decision has the same id"),
    ]
    revision: Annotated[int, Field(ge=1, description="grows per key; drop anything not greater than what is held")]
    subject: Subject
    members: Annotated[
        tuple[Member, ...] | None,
        Field(
            strict=False,
            min_length=1,
            description="of a campaign: the accounts that it holds for, all of them in each revision",
        ),
    ] = None
    scope: Scope | None = None
    action: Action
    parameters: Parameters | None = None
    issued_at: Timestamp
    expires_at: Annotated[Timestamp | None, Field(description="null: until lifted, for manual decisions")]
    reason: Reason
    risk: Risk | None = None
    origin: Origin
    actor: Annotated[str | None, Field(description="who decided; required for a manual decision")] = None
    alert_id: str | None = None
    supersedes: str | None = None
    simulated: Annotated[bool, Field(description="shadow mode: count it, do nothing")]
    policy_version: Annotated[
        str | None, Field(description="changes with any policy setting; of decisions that the detector made")
    ] = None

    @model_validator(mode="after")
    def _complete(self) -> "Decision":
        if self.action == "throttle" and (self.parameters is None or self.parameters.requests_per_minute is None):
            raise ValueError("a throttle needs parameters.requests_per_minute")
        if self.origin == "manual" and self.actor is None:
            raise ValueError("a manual decision needs an actor")
        return self

    @property
    def key(self) -> str:
        """Key on the compacted topic: ``<subject type>:<subject id>:<model>``, after the origin unless that is the detector.

        So each key has one writer: neither the detector nor compaction replaces what a person decided
        (``manual:client:acme:fraud``), and the detector need not know of it. Who reads the topic resolves them: see
        `detector.decisions.register`.

        The model part is ``*`` for every model, and sorted names joined by commas for several. In a model's name ``:``,
        ``,``, ``*`` and ``%`` are percent-escaped, so two subjects never share a key, whatever their ids hold. Of an id that is
        not vouched for, ``*`` and the address follow.
        """
        models = self.scope.models if self.scope is not None else None
        writer = "" if self.origin == "detector" else f"{self.origin}:"
        return f"{writer}{self.subject.type}:{self.subject.id}:{key_end(models, self.subject.address)}"

    @property
    def issued_ms(self) -> int:
        """`issued_at` in milliseconds since 1970."""
        return parse_rfc3339(self.issued_at)

    @property
    def expires_ms(self) -> int | None:
        """`expires_at` in milliseconds since 1970; None until lifted."""
        return None if self.expires_at is None else parse_rfc3339(self.expires_at)
