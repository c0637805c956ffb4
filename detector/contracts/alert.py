"""The alert: a document of the Elastic Common Schema (ECS) that needs no set-up to be useful in a SIEM.

Three choices follow from how Elastic reads it. `message` becomes the *name* of the alert in the security app, so it
holds the client and the model and no figure that changes. `event.severity` takes only the four values that its
promotion rule knows. Our own figures stand under one object, ``detector``, with names that the stock ``ecs@mappings``
template leaves alone: a path that ends in ``.start`` or ``_timestamp`` would become a date, ``*_ip`` an address,
``*_score*`` a float whatever it is.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from detector.contracts.decision import Action
from detector.contracts.document import Document, Texts
from detector.contracts.ecs import (
    SEVERITY,
    TAGS,
    Client,
    DataStream,
    Ecs,
    Event,
    EventType,
    Labels,
    Observer,
    Organization,
    Outcome,
    Related,
    Rule,
    Service,
    Severity,
    Source,
    Threat,
    User,
    address,
)
from detector.contracts.moment import Instant, rfc3339

__all__ = ["Alert", "Baseline", "Cost", "Evidence", "EvidenceKind", "Finding", "Odometer", "Price", "compose", "event_type"]

EvidenceKind = Literal["novelty", "construction", "harm"]

_FEATURE = re.compile(r"[a-z][a-z0-9_]*")
_RETYPED = re.compile(
    r"(.*_)?(timestamp|ip)|not_after|not_before|accessed|created|installed|creation_date|ctime|mtime|ingested|start|end"
    r"|location|usage|.*_score.*|.*(structured_data|exports|imports)"
)


def _feature_names(features: dict[str, float]) -> dict[str, float]:
    for name in features:
        if _FEATURE.fullmatch(name) is None:
            raise ValueError(f"feature {name!r}: a name is lower-case letters, digits and underscores")
        if _RETYPED.fullmatch(name) is not None:
            raise ValueError(f"feature {name!r}: ecs@mappings would not index it as a plain number")
    return dict(sorted(features.items()))


class Baseline(Document):
    """What benign clients show for the same figure: two quantiles, the median, and the limit that was passed."""

    low: float | None = None
    median: float | None = None
    high: float | None = None
    threshold: float | None = None


class Evidence(Document):
    """One reason: the figure, what is usual, how much it weighed, and queries that show it."""

    kind: EvidenceKind
    name: Annotated[str, Field(min_length=1)]
    value: float
    baseline: Baseline = Baseline()
    weight: Annotated[float, Field(description="how much it counted in the score")]
    event_ids: Annotated[Texts, Field(description="examples, not all")] = ()
    text: Annotated[str, Field(description="one sentence for the analyst")]


class Odometer(Document):
    """How much of the model the client held at the reading with the highest `lead`: 0 is the best guess, 1 the model itself."""

    lead: Annotated[float, Field(ge=0, le=1)]
    low: Annotated[float, Field(ge=0, le=1, description="with high: the interval that holds the lead in 95 of 100 cases")]
    high: Annotated[float, Field(ge=0, le=1)]
    queries: Annotated[int, Field(ge=1, description="the client's query count for the model at that reading")]


class Price(Document):
    """What a copy of the model costs whoever asks what benign clients ask, and is told labels, as the baseline shows it.

    It is that with the highest lead that the baseline can show; blind to thieves whose queries teach more, or less.
    """

    lead: Annotated[float, Field(ge=0, le=1, description="of the copy: 0 is the best guess, 1 the model itself")]
    queries: Annotated[int, Field(ge=1)]
    amount: Annotated[float, Field(ge=0)]
    reached: Annotated[bool, Field(description="false: so many queries were not enough, a copy costs more")]
    action: Annotated[Action, Field(description="what policy does with a client who holds as much")]


class Cost(Document):
    """What the operator's figures say: what the client's share of the model is worth, what it paid, what a copy costs.

    The share is worth its lead times the model's value. That is no price at a market, and as rough as the lead is.
    """

    leaked: Annotated[float | None, Field(ge=0, description="where the model has a value, and the odometer a reading")] = None
    low: Annotated[float | None, Field(ge=0, description="with high: the same for the interval of the lead")] = None
    high: Annotated[float | None, Field(ge=0)] = None
    paid: Annotated[float | None, Field(ge=0, description="what the queries so far cost, where queries have a price")] = None
    price: Price | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="three letters of ISO 4217")]

    @classmethod
    def of(
        cls,
        held: Odometer | None,
        value: float | None,
        currency: str,
        paid: float | None = None,
        price: Price | None = None,
    ) -> "Cost | None":
        """Return what a reading is worth of a model with this value, and the rest; None where there is nothing to tell.

        >>> Cost.of(Odometer(lead=0.5, low=0.25, high=0.75, queries=32), 1000.0, "EUR").leaked
        500.0
        >>> Cost.of(None, 1000.0, "EUR") is None
        True
        """
        shares = (None, None, None) if held is None or value is None else (held.lead, held.low, held.high)
        leaked, low, high = (None if share is None else _amount(share * (value or 0.0)) for share in shares)
        if leaked is None and paid is None and price is None:
            return None
        return cls(leaked=leaked, low=low, high=high, paid=paid, price=price, currency=currency)


def _amount(exact: float) -> float:
    """Return an amount with two decimals, and with six digits where it is small."""
    return round(exact, 2) if exact >= 1.0 else float(f"{exact:.6g}")


class Finding(Document):
    """Our own object in the document. Figures cover the client's queries to the model up to the evaluation that alerted."""

    queries: Annotated[int, Field(ge=1, description="the client's query count for the model when the alert was raised")]
    score: float
    action: Action
    look: Annotated[int, Field(ge=0, description="how many scheduled evaluations the client had had")]
    evidence: Annotated[tuple[Evidence, ...], Field(strict=False)] = ()
    features: Annotated[
        dict[str, float],
        AfterValidator(_feature_names),
        Field(
            json_schema_extra={
                "propertyNames": {
                    "allOf": [
                        {"pattern": f"^{_FEATURE.pattern}$"},
                        {"not": {"pattern": f"^({_RETYPED.pattern})$"}},
                    ]
                }
            }
        ),
    ]
    baseline_version: str
    config_version: str
    shadow: bool
    odometer: Annotated[Odometer | None, Field(description="there where the model is measured and the client was")] = None
    cost: Annotated[Cost | None, Field(description="there with odometer, where the value of the model is configured")] = None


class Alert(Document):
    """One alert. `compose` builds it; read one with `model_validate_json`."""

    model_config = ConfigDict(
        title="Model extraction alert",
        json_schema_extra={
            "description": "An ECS document; what ECS has no field for stands under detector. Times are UTC with"
            " milliseconds; @timestamp is the event time of the query that raised the alert."
        },
    )

    timestamp: Annotated[Instant, Field(validation_alias="@timestamp", serialization_alias="@timestamp")]
    ecs: Ecs = Ecs()
    data_stream: DataStream = DataStream()
    message: Annotated[str, Field(description="the name of the alert: client and model, no figures")]
    event: Event
    rule: Rule
    threat: Threat = Threat()
    user: User
    source: Source | None = None
    client: Client | None = None
    service: Service
    observer: Observer = Observer()
    related: Related
    organization: Organization | None = None
    labels: Labels
    tags: Texts = TAGS
    detector: Finding


def event_type(action: Action, *, shadow: bool) -> EventType:
    """Say in ECS terms what becomes of the client's queries: ``denied``, ``allowed``, or only reported (``info``).

    A throttle denies what exceeds the rate; perturbed answers are answers; in shadow mode everything passes.

    >>> event_type("block", shadow=False), event_type("block", shadow=True)
    ('denied', 'allowed')
    """
    if action in {"allow", "alert"}:
        return "info"
    if shadow or action == "perturb":
        return "allowed"
    return "denied"


def compose(
    *,
    alert_id: str,
    time_ms: int,
    first_ms: int,
    client: str,
    model: str,
    severity: Severity,
    risk: float,
    rule: Rule,
    reason: str,
    finding: Finding,
    model_version: str | None = None,
    organization: str | None = None,
    ip: str | None = None,
    message: str | None = None,
    members: tuple[str, ...] = (),
    outcome: Outcome = "unknown",
    namespace: str = "default",
    observer_version: str | None = None,
) -> Alert:
    """Put the facts of one alert in every place where ECS wants them.

    `time_ms` is the event time of the query that raised the alert and `first_ms` that of the client's first query to
    the model; the wall clock is not asked, so a replay gives the same bytes. `ip` is taken as logged. `risk` runs
    from 0 to 100. `message` is for alerts that are not about one client, and `members` are the accounts of a campaign, whose id
    `client` then is. Raises ValueError (pydantic's) where a value
    breaks the contract, such as a risk of 101 or a NaN in the features.
    """
    now = rfc3339(time_ms)
    valid_ip = address(ip)
    return Alert(
        timestamp=now,
        data_stream=DataStream(namespace=namespace),
        message=message or f"Suspected model extraction: client {client} on model {model}",
        event=Event(
            id=alert_id,
            type=(event_type(finding.action, shadow=finding.shadow),),
            action=finding.action,
            outcome=outcome,
            code=rule.id,
            reason=reason,
            severity=SEVERITY[severity],
            risk_score=risk,
            risk_score_norm=risk,
            start=rfc3339(first_ms),
            end=now,
            created=now,
        ),
        rule=rule,
        user=User(id=client, name=client),
        source=None if not ip else Source(address=ip, ip=valid_ip),
        client=None if valid_ip is None else Client(ip=valid_ip),
        service=Service(name=model, version=model_version),
        observer=Observer(version=observer_version),
        related=Related(ip=None if valid_ip is None else (valid_ip,), user=(client, *members)),
        organization=None if organization is None else Organization(id=organization),
        labels=Labels(model_id=model, model_version=model_version, shadow="true" if finding.shadow else "false"),
        detector=finding,
    )
