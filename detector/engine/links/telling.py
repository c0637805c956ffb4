"""Telling: campaigns in words and figures, for alerts and decisions."""

from uuid import uuid5

from detector.engine.account import account_of
from detector.engine.evidence import whole
from detector.engine.findings import CampaignMember, Finding, FindingReason, Reading
from detector.engine.judge import NAMESPACE
from detector.engine.links.evidence import NAMES
from detector.engine.links.groups import Groups
from detector.engine.links.holdings import Holdings
from detector.engine.links.joined import Group
from detector.engine.links.sketch import Sketches
from detector.engine.links.usual import Bars
from detector.engine.policy import ALERT, BLOCK, PERTURB, PolicySettings
from detector.ingest.batch import Sender

EVIDENCE, HARM = whole.CAMPAIGN.name, whole.HARM.name
REVIEW, STOP, HARD = 1, 2, 3  # levels of a campaign
LISTED = 200  # accounts that an alert names


class Telling:
    """Tells of the campaigns of one model; `bars` are by the kind of event. What their accounts hold is not always read."""

    def __init__(
        self, model: str, groups: Groups, bars: tuple[Bars, ...], policy: PolicySettings, holdings: Holdings | None
    ) -> None:
        self.model = model
        self.groups = groups
        self.bars = bars
        self.policy = policy
        self.holdings = holdings

    def bars_for(self, group: Group) -> Bars:
        """Return the bars of a group, by the kind of most of its events."""
        return self.bars[group.kind]

    def reading_of(self, group: Group) -> Reading | None:
        """Return the highest reading of what the named accounts of a campaign hold together, None where there is none."""
        return None if self.holdings is None else self.holdings.reading(group.number)

    def name_of(self, group: Group) -> str:
        """Return the id of a campaign, the same in every run over the same stream."""
        parts = (self.model, group.founder, str(group.number), str(group.first_ms))
        return f"campaign-{uuid5(NAMESPACE, chr(31).join(parts)).hex[:12]}"

    def is_harmed(self, group: Group) -> bool:
        """Tell whether a campaign is stopped for what it holds, and its evidence would not be enough."""
        return (
            group.level >= STOP
            and group.highest <= self.bars_for(group).high
            and self.holdings is not None
            and self.holdings.has_met(group.number)
        )

    def simulates(self, group: Group) -> bool:
        """Tell whether decisions about a campaign are simulated."""
        evidence = (EVIDENCE, HARM) if self.is_harmed(group) else (EVIDENCE,)
        return any(self.policy.simulates(self.model, one) for one in evidence)

    def id_of(self, *parts: object) -> str:
        """Return the id of an alert or a decision, which these parts decide."""
        return str(uuid5(NAMESPACE, "\x1f".join(map(str, (self.model, *parts)))))

    def member(self, number: int) -> CampaignMember:
        """Return an account as decisions name it."""
        found = self.groups.grouped.get(number) or self.groups.accounts[number]
        account = account_of(found.key)
        return CampaignMember(account.client, account.address)

    def headline(self, group: Group) -> str:
        """Return what is known of a campaign, in a sentence."""
        harmed, bars = self.is_harmed(group), self.bars_for(group)
        bar, then = (bars.high, "stop") if group.level >= STOP and not harmed else (bars.low, "review")
        told = (
            f"queries of {len(group.accounts)} accounts were made from each other's, {len(group.named)} of them are named: "
            f"evidence {group.highest:.1f}"
        )
        if group.level >= STOP and group.highest <= bars.high and not harmed:
            told += f", with {group.beside} other groups of such events {group.pooled / 1000.0:.1f} above {bars.low:.1f}"
        return "; ".join([f"{told}, {then} at {bar:.1f}", *self._held_told(group)])

    def _held_told(self, group: Group) -> list[str]:
        """Return what the named accounts hold together, in a sentence; nothing where it was not read."""
        held = self.reading_of(group)
        if held is None:
            return []
        lead = f"a lead of {held.lead:.2f} ({held.low:.2f} to {held.high:.2f})"
        told = f"together they hold {lead} after {held.queries:,} queries"
        limit = self.policy.campaign_stop_at
        return [told if limit is None else f"{told}, campaigns are blocked from {limit:.2f}"]

    def risk(self, group: Group) -> float:
        """Map evidence to 0-100: 30 to 60 under review, from 70 where accounts are stopped."""
        held = self.reading_of(group)
        if held is not None and self.is_harmed(group):
            return round(max(100.0 * held.lead, 70.0), 1)
        bars = self.bars_for(group)
        if group.level >= STOP:
            return round(min(100.0, 70.0 * max(group.highest / bars.high, 1.0)), 1)
        return round(min(60.0, 30.0 * group.highest / bars.low), 1)

    def finding(self, group: Group, sketches: Sketches, i: int) -> Finding:
        """Return a finding about a campaign after the query at `i`."""
        action = {REVIEW: ALERT, STOP: PERTURB, HARD: BLOCK}[group.level]
        name = self.name_of(group)
        simulated = self.simulates(group)
        counted = {kind: group.counts[kind] for kind in NAMES if group.counts[kind]}
        harmed, held, bars = self.is_harmed(group), self.reading_of(group), self.bars_for(group)
        bar = bars.high if group.level >= STOP and not harmed else bars.low
        reasons = [
            FindingReason(
                "construction",
                EVIDENCE,
                _tidy(group.highest),
                1.0,
                self.headline(group),
                threshold=_tidy(bar),
                event_ids=tuple(group.examples),
            )
        ]
        if held is not None:
            limit = self.policy.campaign_stop_at
            (text,) = self._held_told(group)
            reasons.append(FindingReason("harm", HARM, held.lead, 1.0 if harmed else 0.0, text, threshold=limit))
        total = sum(counted.values()) or 1
        for kind, count in counted.items():
            text = f"{count:,} {NAMES[kind]}"
            weight = _tidy(count / total)
            reasons.append(
                FindingReason("construction", NAMES[kind].replace(" ", "_").replace("-", "_"), float(count), weight, text)
            )
        return Finding(
            emitted=int(sketches.sequence[i]),
            sequence=int(sketches.sequence[i]),
            alert_id=self.id_of(name, "alert", group.level, group.alerted),
            time_ms=int(sketches.time[i]),
            first_ms=min(group.first_ms, int(sketches.time[i])),
            client=name,
            model=self.model,
            version=sketches.version[i],
            sender=Sender(),
            queries=max(group.queries, 1),
            look=0,
            kind="construction",
            evidence=EVIDENCE,
            action=action,
            score=_tidy(group.highest),
            risk=self.risk(group),
            reasons=tuple(reasons),
            features={"accounts": float(len(group.accounts)), "accounts_named": float(len(group.named))},
            simulated=simulated,
            members=tuple(self.member(number) for number in group.named[:LISTED]),
            odometer=held,
            subject="campaign",
        )


def _tidy(value: float) -> float:
    """Return the value with six digits, so that documents do not depend on the last bit of a sum."""
    return float(f"{value:.6g}")
