"""Organisations: what their accounts were told together, how much of the model that is, and which budget it met.

As for clients, the logs that the results name are run through the engine once more.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts.decision import LADDER
from detector.contracts.moment import rfc3339
from detector.engine.account import account_of
from detector.engine.evidence.whole import HARM
from detector.engine.findings import Reading
from detector.engine.links.joined import Account
from detector.engine.links.linker import Linker, Witness
from detector.engine.links.organizations import LEAST_MEMBERS, Organization
from detector.engine.policy import Budget
from detector.errors import SourceError
from detector.names import printable
from detector.offline.explain.again import replayed
from detector.offline.explain.explanation import tidy
from detector.offline.explain.results import summary_of
from detector.offline.explain.words import listed
from detector.offline.replay import Progress


@dataclass(frozen=True, slots=True)
class OrganizationAccount:
    """An account of an organisation: the new queries that it asked for it, and when it came."""

    client: str
    queries: int
    first: str


@dataclass(frozen=True, slots=True)
class OrganizationExplanation:
    """What is known of an organisation; `leads` are pairs of event time in milliseconds and the highest lead until then.

    `odometer` is its highest reading, None where there is none. `level` is the hardest action that its lead has called for.
    """

    organization: str
    model: str
    level: str
    headline: str
    meaning: str
    lookalike: str
    queries: int
    accounts: tuple[OrganizationAccount, ...]
    odometer: Reading | None
    degrade_at: float | None
    stop_at: float | None
    first: str
    last: str
    leads: tuple[tuple[int, float], ...]


@dataclass(slots=True)
class _Measured:
    """What was seen of the organisation on one model."""

    own: Organization
    budget: Budget
    last_ms: int = 0
    reading: Reading | None = None
    leads: list[tuple[int, float]] = field(default_factory=list)
    accounts: dict[str, list[int]] = field(default_factory=dict)  # queries and first event time by key


@dataclass(slots=True)
class _Seen(Witness):
    """Watches one organisation while its log runs again."""

    name: str
    models: dict[str, _Measured] = field(default_factory=dict)

    def asked(self, found: Organization, account: Account, time_ms: int, linker: Linker) -> None:
        if found.name != self.name or linker.together is None:
            return
        budget = linker.telling.policy.organization_budget(linker.model, found.name)
        seen = self.models.setdefault(linker.model, _Measured(found, budget))
        seen.own, seen.last_ms = found, max(seen.last_ms, time_ms)
        seen.accounts.setdefault(account.key, [0, time_ms])[0] += 1
        reading = linker.together.organizations.reading(found)
        if reading is not None and reading != seen.reading:
            seen.reading = reading
            seen.leads.append((time_ms, reading.lead))


def explain_organization(
    organization: str,
    model: str | None,
    folder: Path,
    config: Config,
    baseline: Baseline | None,
    progress: Progress | None = None,
) -> OrganizationExplanation:
    """Explain an organisation of the results in `folder`; `config` and `baseline` should be those of the run.

    Raises `SourceError` when the folder holds no complete results, the organisation is not measured in them, or the model has
    to be named.
    """
    seen = _Seen(organization)
    with replayed(summary_of(folder), folder, config, baseline, progress=progress, witness=seen):
        pass
    return _described(seen, _chosen(seen, model, folder))


def _chosen(seen: _Seen, model: str | None, folder: Path) -> str:
    name = printable(seen.name)
    if not seen.models:
        raise SourceError(
            f"{folder}: no account that is vouched for asked a measured model under the organisation {name!r}: its baseline "
            "needs reference inputs, the log client.organization, and [links] enabled and [odometer] enabled must be true"
        )
    if model is None and len(seen.models) > 1:
        raise SourceError(f"organisation {name!r} uses several models, choose one with --model: {listed(sorted(seen.models))}")
    chosen = model or next(iter(seen.models))
    if chosen not in seen.models:
        raise SourceError(
            f"organisation {name!r} asked model {printable(chosen)!r} nothing; it uses {listed(sorted(seen.models))}"
        )
    return chosen


def to_dict(found: OrganizationExplanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    return {
        "organization": found.organization,
        "model": found.model,
        "level": found.level,
        "headline": found.headline,
        "meaning": found.meaning,
        "lookalike": found.lookalike,
        "queries": found.queries,
        "first": found.first,
        "last": found.last,
        "odometer": None if found.odometer is None else {name: tidy(value) for name, value in found.odometer._asdict().items()},
        "degrade_at": found.degrade_at,
        "stop_at": found.stop_at,
        "accounts": [{"client": one.client, "queries": one.queries, "first": one.first} for one in found.accounts],
        "leads": [{"time": rfc3339(time_ms), "lead": lead} for time_ms, lead in found.leads],
    }


def _described(seen: _Seen, model: str) -> OrganizationExplanation:
    found = seen.models[model]
    ordered = sorted(found.accounts.items(), key=lambda item: (-item[1][0], item[0]))
    reading = found.reading
    if reading is not None:
        headline = (
            f"{len(ordered)} accounts hold a lead of {reading.lead:.2f} ({reading.low:.2f} to {reading.high:.2f}) together, "
            f"read after {reading.queries:,} queries"
        )
    elif len(ordered) < LEAST_MEMBERS:
        headline = "one account asks for it: what it holds is measured as the client's"
    else:
        headline = f"{len(ordered)} accounts: not read, they asked too little, or others asked more"
    return OrganizationExplanation(
        organization=seen.name,
        model=model,
        level=LADDER[found.own.level],
        headline=headline,
        meaning=HARM.meaning,
        lookalike=HARM.lookalike,
        queries=found.own.queries,
        accounts=tuple(OrganizationAccount(account_of(key).client, own[0], rfc3339(own[1])) for key, own in ordered),
        odometer=reading,
        degrade_at=found.budget.degrade_at,
        stop_at=found.budget.stop_at,
        first=rfc3339(found.own.first_ms),
        last=rfc3339(max(found.last_ms, found.own.first_ms)),
        leads=tuple(found.leads),
    )
