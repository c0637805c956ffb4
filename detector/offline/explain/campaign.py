"""Campaigns: which accounts work together, what was made from whose queries, and when that was enough.

As for clients, the logs that the results name are run through the engine once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.engine.account import account_of
from detector.engine.evidence.whole import CAMPAIGN
from detector.engine.findings import Reading
from detector.engine.links.evidence import NAMES, Worth
from detector.engine.links.joined import Account, Event, Group
from detector.engine.links.linker import Linker, Witness
from detector.engine.links.seeking.search import NOTHING
from detector.engine.links.telling import REVIEW, STOP
from detector.engine.links.usual import Bars
from detector.errors import SourceError
from detector.names import printable
from detector.offline.explain.again import replayed
from detector.offline.explain.explanation import tidy
from detector.offline.explain.results import read_lines, summary_of
from detector.offline.explain.words import listed
from detector.offline.replay import Progress

LEVELS = ("none", "review", "stopped", "blocked")


@dataclass(frozen=True, slots=True)
class CampaignAccount:
    """An account of a campaign: new `queries`, how many `events` they were, its own evidence, and when it was named."""

    client: str
    address: str | None
    queries: int
    events: int
    evidence: float
    named: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """One event: who asked (a place in `CampaignExplanation.accounts`), from whose queries it was made, and of what kind."""

    event_id: str
    time_ms: int
    kind: str
    account: int
    made_from: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CampaignExplanation:
    """What is known of a campaign; `evidence` are pairs of event time in milliseconds and evidence, as it grew.

    `odometer` is the highest reading of what the named accounts hold together, None where there is none. `harmed` tells whether
    the campaign is stopped for that, and its evidence would not be enough.
    """

    campaign: str
    model: str
    level: str
    headline: str
    meaning: str
    lookalike: str
    accounts: tuple[CampaignAccount, ...]
    counts: Mapping[str, int]
    score: float
    review_at: float
    stop_at: float
    first: str
    last: str
    links: tuple[Link, ...]
    evidence: tuple[tuple[int, float], ...]
    odometer: Reading | None = None
    harmed: bool = False


@dataclass(slots=True)
class _Seen(Witness):
    """Watches one campaign while its log runs again."""

    name: str
    model: str
    group: Group | None = None
    bars: Bars = field(default_factory=Bars)
    worth: Worth = field(default_factory=Worth)
    accounts: dict[int, Account] = field(default_factory=dict)
    events: dict[int, list[Event]] = field(default_factory=dict)
    evidence: list[tuple[int, float]] = field(default_factory=list)
    odometer: Reading | None = None
    harmed: bool = False

    def linked(self, event: Event, group: Group, linker: Linker) -> None:
        if linker.model != self.model:
            return
        if event.kind != NOTHING:
            self.events.setdefault(event.account.number, []).append(event)
        if linker.telling.name_of(group) != self.name:
            return
        self.group, self.bars, self.worth = group, linker.telling.bars_for(group), linker.groups.worth
        self.odometer, self.harmed = linker.telling.reading_of(group), linker.telling.is_harmed(group)
        for number in group.accounts:
            if number not in self.accounts and (account := linker.groups.find(number)) is not None:
                self.accounts[number] = account
        self.evidence.append((event.time_ms, group.score))


def explain_campaign(
    campaign: str, folder: Path, config: Config, baseline: Baseline | None, progress: Progress | None = None
) -> CampaignExplanation:
    """Explain a campaign of the results in `folder`; `config` and `baseline` should be those of the run.

    Raises `SourceError` when the folder holds no complete results, the campaign is not in them or is not found again.
    """
    summary = summary_of(folder)
    model = _model_of(campaign, folder)
    seen = _Seen(campaign, model)
    with replayed(summary, folder, config, baseline, progress=progress, witness=seen):
        pass
    if seen.group is None:
        raise SourceError(
            f"{campaign} is in {folder} and is not found again: give the configuration and the baseline of that run"
        )
    return _described(seen, seen.group)


def to_dict(found: CampaignExplanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    accounts = [
        {
            "client": one.client,
            **({} if one.address is None else {"address": one.address}),
            "queries": one.queries,
            "events": one.events,
            "evidence": one.evidence,
            "named": one.named,
        }
        for one in found.accounts
    ]
    return {
        "campaign": found.campaign,
        "model": found.model,
        "level": found.level,
        "headline": found.headline,
        "meaning": found.meaning,
        "lookalike": found.lookalike,
        "first": found.first,
        "last": found.last,
        "evidence": found.score,
        "review_at": found.review_at,
        "stop_at": found.stop_at,
        "counts": dict(found.counts),
        "odometer": None if found.odometer is None else {name: tidy(value) for name, value in found.odometer._asdict().items()},
        "stopped_for_harm": found.harmed,
        "accounts": accounts,
        "links": [
            {
                "event_id": link.event_id,
                "time": rfc3339(link.time_ms),
                "kind": link.kind,
                "client": found.accounts[link.account].client,
                "made_from": [found.accounts[place].client for place in link.made_from],
            }
            for link in found.links
        ],
    }


def _model_of(campaign: str, folder: Path) -> str:
    known: dict[str, str] = {}
    for line in read_lines(folder / "alerts.jsonl"):
        if line["rule"]["id"] == f"extraction.{CAMPAIGN.name}":
            known[line["user"]["id"]] = line["service"]["name"]
    if campaign not in known:
        there = f"; it has {listed(sorted(known))}" if known else ""
        raise SourceError(f"{folder}: there is no campaign {printable(campaign)!r}{there}")
    return known[campaign]


def _described(seen: _Seen, group: Group) -> CampaignExplanation:
    numbers = sorted(group.accounts, key=lambda number: (seen.accounts[number].first_ms, seen.accounts[number].key))
    place = {number: at for at, number in enumerate(numbers)}
    events = sorted((event for number in numbers for event in seen.events.get(number, ())), key=lambda event: event.uid)
    links = tuple(
        Link(
            event.event_id,
            event.time_ms,
            NAMES[event.kind],
            place[event.account.number],
            tuple(place[number] for _, number, _ in event.made if number in place),
        )
        for event in events
    )
    accounts = tuple(_account(seen.accounts[number], seen.worth) for number in numbers)
    named = sum(one.named is not None for one in accounts)
    stopped = group.level >= STOP and not seen.harmed
    bar = "stopped at" if stopped else "reviewed at"
    at = seen.bars.high if stopped else seen.bars.low
    then = "; stopped for what its accounts hold together" if seen.harmed else ""
    return CampaignExplanation(
        campaign=seen.name,
        model=seen.model,
        level=LEVELS[group.level],
        headline=f"{len(accounts)} accounts, {named} of them named: evidence {group.highest:.1f}, {bar} {at:.1f}{then}"
        if group.level >= REVIEW
        else f"{len(accounts)} accounts: evidence {group.highest:.1f}",
        meaning=CAMPAIGN.meaning,
        lookalike=CAMPAIGN.lookalike,
        accounts=accounts,
        counts={NAMES[kind]: count for kind, count in enumerate(group.counts) if count},
        score=tidy(group.highest),
        review_at=tidy(seen.bars.low),
        stop_at=tidy(seen.bars.high),
        first=rfc3339(group.first_ms),
        last=rfc3339(group.last_ms),
        links=links,
        evidence=tuple(seen.evidence),
        odometer=seen.odometer,
        harmed=seen.harmed,
    )


def _account(account: Account, worth: Worth) -> CampaignAccount:
    whose = account_of(account.key)
    return CampaignAccount(
        client=whose.client,
        address=whose.address,
        queries=account.queries,
        events=sum(account.counts),
        evidence=tidy(worth.mixture(account.queries, account.counts) if account.counts else 0.0),
        named=rfc3339(account.named_ms) if account.named_ms else None,
    )
