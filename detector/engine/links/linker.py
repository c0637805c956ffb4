"""The linker: finds one theft that is spread over many accounts of a model, and says what is to be done about it.

It takes the sketches of all shards in stream order. Queries are compared with those of all accounts (`seeking.search`),
accounts are joined by what was made from what (`groups`), and a group with enough evidence is a *campaign*. Above the low bar
it is a matter for a person: an alert, and nothing else. Above the high bar its accounts that are named are stopped, within the
limits of policy. All follows from the sketches and their order, however they are cut.

Blind to: thieves whose accounts each own a region and ask little, natural inputs (k-center, random choice), and foreign data.
"""

import hashlib
import struct
from typing import Any, Protocol
from uuid import uuid5

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.moment import LAST_MS
from detector.engine.account import account_of
from detector.engine.compute import population_of, scales_of
from detector.engine.features.distances import WINDOW
from detector.engine.findings import CampaignMember, Finding, FindingReason, HeldBack, Outputs, PendingDecision, Reading
from detector.engine.guard import DAY_MS, StopGuard, tenfold
from detector.engine.judge import NAMESPACE
from detector.engine.links import keeping
from detector.engine.links.evidence import NAMES, STRONG
from detector.engine.links.groups import LEAST_ACCOUNTS, Account, Event, Group, Groups
from detector.engine.links.holdings import Holdings
from detector.engine.links.seeking.records import no_chains
from detector.engine.links.seeking.search import KINDS, NOTHING, links_for, room_for, seek
from detector.engine.links.seeking.store import asking, empty, near_for
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.usual import COUNTED, EVENTS, LARGEST, Bars, Scores, bars_of, worth_of
from detector.engine.memory.reservoir import RING
from detector.engine.models.reference import Reference
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.policy import (
    ALERT,
    ALLOW,
    BLOCK,
    BLOCK_SHARE,
    PERTURB,
    THROTTLE,
    PolicySettings,
    lasts_ms,
    permitted,
    vouched,
)
from detector.ingest.batch import Sender

EVIDENCE, HARM = "campaign", "harm"
REVIEW, STOP, HARD = 1, 2, 3  # levels of a campaign
ALERT_FROM = 4  # named accounts from which an alert follows each doubling
AT_ONCE = 32  # named accounts up to which each leads to a decision at once
GROWN = 16  # beyond it, one in so many accounts that are new does, or
PAUSE_MS = 10_000  # so much time since the last decision
RETRY_MS = 60_000  # after it, stops that were held back are tried again
MOST_MEMBERS = 2000  # accounts that a decision names: a record must fit into a message
MOST_MEMBER_BYTES = 700_000  # of their names in it: Kafka takes 1 MB by default
MEMBER_BYTES = 32  # of a member's record besides its names
OWN_SHARE = 0.05  # least share of an account's queries that are strong events, for a stop
LISTED = 200  # accounts that an alert names
STOPPED, THROTTLED = 0, 1  # the two decisions of a campaign: stops, and throttles where a stop is not permitted


class Witness(Protocol):
    """Is told of each event, for explanations."""

    def linked(self, event: Event, group: Group, linker: "Linker") -> None:
        """Take in an event that changed the evidence of a group, after it was judged."""
        ...


class Linker:
    """Links the accounts of one model.

    `scores` are what the calibration log showed (`usual`). Where there is a `reference_set`, it is read how much of the model
    the named accounts of a campaign hold together (see `holdings`). `secret` keys the numbers of accounts and hashes of
    records. It must be the same as that of the shards. A `witness`, where given, is told of each event.
    """

    def __init__(
        self,
        model: str,
        settings: LinkSettings,
        reference: Reference,
        policy: PolicySettings,
        *,
        scores: Scores = (),
        reference_set: ReferenceSet | None = None,
        secret: int = 0,
        witness: Witness | None = None,
    ) -> None:
        self.model = model
        self.bars = bars_of(scores)
        self.settings = settings
        self.groups = Groups(settings, worth_of(scores))
        self.guard = StopGuard(policy)
        self.entries = empty(reference.landmarks.shape[1], settings.entries)
        self.chains = no_chains(reference.table)
        self._witness = witness
        self._policy = policy
        self._reference = reference
        self._fingerprint = reference.fingerprint
        self._scales = scales_of(reference, RING)
        self._population = population_of(reference, WINDOW)
        self._landmarks = np.ascontiguousarray(reference.landmarks, np.float32)
        self._near = near_for(self.entries)
        self._room = room_for(int(reference.measured))
        self._secret = secret
        self._hash_key = hashlib.blake2b(struct.pack("<Q", secret & (2**64 - 1)), digest_size=16).digest()
        self._seed = np.uint64(
            int.from_bytes(hashlib.blake2b(b"records", key=self._hash_key, digest_size=8).digest(), "little")
        )
        self.holdings = None if reference_set is None else Holdings(reference_set, settings.entries, int(self._seed))
        self._numbers: dict[str, int] = {}
        self._usual = np.zeros((KINDS, 2), np.float64)  # for calibration; no part of the state

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under another policy; decisions in force stay."""
        self._policy = policy
        self.guard.adopt(policy)

    @property
    def nbytes(self) -> int:
        """The memory of the arrays, in bytes; accounts and groups come on top."""
        held = 0 if self.holdings is None else self.holdings.nbytes
        return held + sum(array.nbytes for array in (*self.entries, *self.chains))

    def process(self, sketches: Sketches) -> Outputs:
        """Take in queries of the model, in stream order; return findings and decisions about campaigns."""
        outputs = Outputs()
        n = len(sketches)
        if n == 0:
            return outputs
        account = np.fromiter(map(self._number, sketches.account), np.uint64, n)
        links = links_for(n)
        asked = asking(sketches, account)
        seek(
            self.entries,
            self.chains,
            asked,
            self._landmarks,
            self._scales,
            self._population,
            self._near,
            self._room,
            self._seed,
            links,
        )
        if self.holdings is not None:
            self.holdings.take(sketches, account, links)
        numbers, uids = account.tolist(), links.uid.tolist()
        worthless = np.array(self.groups.worth.weights) == 0.0
        links.kind[worthless[links.kind]] = NOTHING
        kinds, chained = links.kind.tolist(), links.near[:, 0].tolist()
        self._usual[NOTHING, EVENTS] += n - np.count_nonzero(links.repeat)
        for i in np.flatnonzero(~links.repeat).tolist():
            asker = self._count(sketches, i, numbers[i])
            if self.holdings is not None:
                self.holdings.advance(uids[i], self.groups)
            if kinds[i] == NOTHING and chained[i] == 0:
                continue
            made = [(end[0], end[1], end[2]) for end in (links.one[i].tolist(), links.other[i].tolist()) if end[0]]
            self._note(asker, kinds[i], made)
            event = Event(
                uids[i],
                asker,
                kinds[i],
                int(links.cluster[i]),
                made,
                (chained[i], int(links.near[i, 1])),
                int(sketches.sequence[i]),
                int(sketches.time[i]),
                sketches.event_id[i],
                float(links.size[i]),
            )
            group = self.groups.take(event)
            if group is not None:
                self._judge(group, sketches, i, uids[i], outputs)
                if self._witness is not None:
                    self._witness.linked(event, group, self)
                self.groups.expire(event.time_ms)
        if self.holdings is not None:
            self.holdings.finish()
        return outputs

    def scores(self) -> list[float]:
        """Return the highest evidence of each group that is large enough for a campaign, the largest first."""
        return sorted((group.highest for group in self._large()), reverse=True)

    def usual(self) -> npt.NDArray[np.float64]:
        """Return what the accounts showed since the linker was made, (KINDS, 2), as the `scores` of another one."""
        found = self._usual.copy()
        for group in self._large():
            found[group.kind, LARGEST] = max(found[group.kind, LARGEST], group.highest)
        return found

    def bars_for(self, group: Group) -> Bars:
        """Return the bars of a group, by the kind of most of its events."""
        return self.bars[group.kind]

    def campaigns(self) -> list[Group]:
        """Return the groups that are campaigns, the one with the latest event last."""
        return [group for group in self.groups.groups.values() if group.level >= REVIEW]

    def reading_of(self, group: Group) -> Reading | None:
        """Return the highest reading of what the named accounts of a campaign hold together, None where there is none."""
        return None if self.holdings is None else self.holdings.reading(group.number)

    def name_of(self, group: Group) -> str:
        """Return the id of a campaign, the same in every run over the same stream."""
        parts = (self.model, group.founder, str(group.number), str(group.first_ms))
        return f"campaign-{uuid5(NAMESPACE, chr(31).join(parts)).hex[:12]}"

    def _large(self) -> list[Group]:
        return [group for group in self.groups.groups.values() if len(group.strong) >= LEAST_ACCOUNTS]

    def _note(self, asker: Account, kind: int, made: list[tuple[int, int, int]]) -> None:
        """Note for calibration an event across accounts."""
        if kind != NOTHING and (not asker.counts or asker.counts[kind] < COUNTED):
            self._usual[kind, EVENTS] += any(number not in {0, asker.number} for _, number, _ in made)

    def _number(self, key: str) -> int:
        """Return the number of an account: 64 bits that nobody can choose."""
        found = self._numbers.get(key)
        if found is None:
            if len(self._numbers) >= 2 * self.settings.accounts:
                self._numbers.clear()
            digest = hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._hash_key, digest_size=8).digest()
            found = self._numbers[key] = int.from_bytes(digest, "little") | 1
        return found

    def _count(self, sketches: Sketches, i: int, number: int) -> Account:
        """Count a query of an account, and return the account."""
        found = self.groups.asks(number)
        time_ms = int(sketches.time[i])
        if found is None:
            sender = sketches.sender[i]
            known = sender.organization if vouched(sender, self._policy) else None
            found = Account(number, sketches.account[i], known, sender.trusted, first_ms=time_ms)
            self.groups.admit(found)
        if time_ms // DAY_MS > found.day:
            found.day = time_ms // DAY_MS
            self.guard.note_active(found.day)
        return found

    def _judge(self, group: Group, sketches: Sketches, i: int, uid: int, outputs: Outputs) -> None:
        """Add to the outputs what the evidence of a group calls for after the query at `i`."""
        if len(group.strong) < LEAST_ACCOUNTS:
            return
        bars = self.bars_for(group)
        self.groups.pool(group, bars.low, bars.high)
        self._usual[group.kind, LARGEST] = max(self._usual[group.kind, LARGEST], group.pooled / 1000.0)
        if group.score <= bars.low and group.level == 0:
            return
        time_ms = int(sketches.time[i])
        self.groups.name(group, time_ms)
        level = REVIEW
        if bars.stops and group.excess and group.pooled > 1000.0 * bars.high:
            level = STOP
        if bars.stops and group.highest > bars.high:
            level = HARD if group.highest > BLOCK_SHARE * bars.high else STOP
        if self._over_budget(group, uid):
            level = HARD
        rises = level > group.level
        group.level = max(group.level, level)
        named = len(group.named)
        if named and (rises or not group.alerted or named >= 2 * max(group.alerted, ALERT_FROM // 2)):
            group.alerted = named
            if self.holdings is not None:
                self.holdings.read(group, self.groups, uid)
            outputs.findings.append(self._finding(group, sketches, i))
        if group.level >= STOP:
            self._decide(group, sketches, i, outputs)

    def _over_budget(self, group: Group, uid: int) -> bool:
        """Read the odometer of a campaign where that is due; tell whether its accounts hold as much as all campaigns may."""
        if self.holdings is None:
            return False
        if self.holdings.is_due(group):
            self.holdings.read(group, self.groups, uid)
        held, limit = self.holdings.reading(group.number), self._policy.campaign_stop_at
        return held is not None and limit is not None and self.holdings.meets(group.number, limit)

    def is_harmed(self, group: Group) -> bool:
        """Tell whether a campaign is stopped for what it holds, and its evidence would not be enough."""
        return (
            group.level >= STOP
            and group.highest <= self.bars_for(group).high
            and self.holdings is not None
            and self.holdings.has_met(group.number)
        )

    def _simulates(self, group: Group) -> bool:
        evidence = (EVIDENCE, HARM) if self.is_harmed(group) else (EVIDENCE,)
        return any(self._policy.simulates(self.model, one) for one in evidence)

    def _decide(self, group: Group, sketches: Sketches, i: int, outputs: Outputs) -> None:
        """Decide about the named accounts, all at once where there are many new ones."""
        time_ms = int(sketches.time[i])
        action = BLOCK if group.level >= HARD else PERTURB
        simulated = self._simulates(group)
        in_force = [_in_force(group, which, time_ms, simulated=simulated) for which in (STOPPED, THROTTLED)]
        named = len(group.named)
        new = named - group.published
        ended = any(held and force == ALLOW for held, force in zip(group.held, in_force, strict=True))
        harder = in_force[STOPPED] < action
        due = new and (named <= AT_ONCE or GROWN * new >= named or time_ms >= group.published_ms + PAUSE_MS)
        paused = time_ms >= group.published_ms + PAUSE_MS
        retried = group.held_back and time_ms >= group.published_ms + RETRY_MS
        if not (due or retried or (paused and (ended or (harder and group.stopped)))):
            return
        sides = self._sides(group, action, sketches, i, outputs, simulated=simulated)
        group.published, group.published_ms = named, time_ms
        for which, (wanted, members) in enumerate(zip((action, THROTTLE), sides, strict=True)):
            before = group.stopped if which == STOPPED else group.throttled
            if not members or (members == before and wanted <= in_force[which]):
                continue
            if simulated and group.held[which] > 0 and in_force[which] > ALLOW:
                continue  # a simulated decision never takes the place of a real one
            if which == STOPPED:
                group.stopped, group.inherited = members, []
            else:
                group.throttled = members
            outputs.pending_decisions.append(self._decision(group, which, wanted, sketches, i, simulated=simulated))

    def _sides(
        self, group: Group, action: int, sketches: Sketches, i: int, outputs: Outputs, *, simulated: bool
    ) -> tuple[list[int], list[int]]:
        """Return the numbers of the named accounts that are stopped, and of those that are throttled at most."""
        time_ms = int(sketches.time[i])
        held = frozenset((*group.stopped, *group.inherited))
        group.held_back = 0
        stopped: list[int] = []
        throttled: list[int] = []
        elsewhere = sum(
            len(other.stopped)
            for other in self.groups.groups.values()
            if other is not group and _in_force(other, STOPPED, time_ms, simulated=simulated) > ALLOW
        )
        for number in self._members_that_fit(group):
            account = self.groups.grouped[number]
            trusted = vouched(Sender(trusted=account.trusted), self._policy)
            protected = self._policy.protects(account_of(account.key).client, account.organization)
            if permitted(action, trusted=trusted, protected=protected) < action:
                throttled.append(number)
                continue
            if number not in held:
                if not _constructs(account):
                    throttled.append(number)
                    group.held_back += 1
                    continue
                refusal = self.guard.refusal(time_ms, elsewhere + len(stopped), simulated=simulated)
                if refusal is not None:
                    throttled.append(number)
                    self._hold_back(group, account, refusal, sketches, i, outputs, simulated=simulated)
                    continue
            stopped.append(number)
        return stopped, throttled

    def _members_that_fit(self, group: Group) -> list[int]:
        """Return the accounts that a decision can name, those that were named last, in the order of naming."""
        size = 0
        for place, number in enumerate(reversed(group.named)):
            account = self._member(number)
            size += len(msgspec.json.encode((account.client, account.address))) + MEMBER_BYTES
            if place == MOST_MEMBERS or size > MOST_MEMBER_BYTES:
                return group.named[-place:] if place else []
        return group.named

    def _hold_back(
        self,
        group: Group,
        account: Account,
        refusal: str,
        sketches: Sketches,
        i: int,
        outputs: Outputs,
        *,
        simulated: bool,
    ) -> None:
        """Note that a stop is held back; an alert says so at 1, 10, 100 accounts and so on."""
        time_ms = int(sketches.time[i])
        episode = self.guard.episode(time_ms, simulated=simulated)
        group.held_back += 1
        if account.held_back == episode.number:
            return
        account.held_back = episode.number
        episode.clients += 1
        if not tenfold(episode.clients):
            return
        name = self.name_of(group)
        counted = "1 account is" if episode.clients == 1 else f"{episode.clients:,} accounts are"
        outputs.held_back.append(
            HeldBack(
                emitted=int(sketches.sequence[i]),
                sequence=int(sketches.sequence[i]),
                alert_id=self._id(name, "held back", episode.first_ms, episode.clients, simulated),
                time_ms=time_ms,
                first_ms=min(episode.first_ms, time_ms),
                client=account_of(account.key).client,
                model=self.model,
                version=sketches.version[i],
                sender=sketches.sender[i],
                queries=max(account.queries, 1),
                clients=episode.clients,
                text=f"{counted} of {name} throttled instead of stopped: {refusal}",
                simulated=simulated,
            )
        )

    def _id(self, *parts: object) -> str:
        return str(uuid5(NAMESPACE, "\x1f".join(map(str, (self.model, *parts)))))

    def _member(self, number: int) -> CampaignMember:
        account = account_of(self.groups.grouped[number].key)
        return CampaignMember(account.client, account.address)

    def _headline(self, group: Group) -> str:
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
        limit = self._policy.campaign_stop_at
        return [told if limit is None else f"{told}, campaigns are blocked from {limit:.2f}"]

    def _risk(self, group: Group) -> float:
        """Map evidence to 0-100: 30 to 60 under review, from 70 where accounts are stopped."""
        held = self.reading_of(group)
        if held is not None and self.is_harmed(group):
            return round(max(100.0 * held.lead, 70.0), 1)
        bars = self.bars_for(group)
        if group.level >= STOP:
            return round(min(100.0, 70.0 * max(group.highest / bars.high, 1.0)), 1)
        return round(min(60.0, 30.0 * group.highest / bars.low), 1)

    def _finding(self, group: Group, sketches: Sketches, i: int) -> Finding:
        action = {REVIEW: ALERT, STOP: PERTURB, HARD: BLOCK}[group.level]
        name = self.name_of(group)
        simulated = self._simulates(group)
        counted = {kind: group.counts[kind] for kind in NAMES if group.counts[kind]}
        harmed, held, bars = self.is_harmed(group), self.reading_of(group), self.bars_for(group)
        bar = bars.high if group.level >= STOP and not harmed else bars.low
        reasons = [
            FindingReason(
                "construction",
                EVIDENCE,
                _tidy(group.highest),
                1.0,
                self._headline(group),
                threshold=_tidy(bar),
                event_ids=tuple(group.examples),
            )
        ]
        if held is not None:
            limit = self._policy.campaign_stop_at
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
            alert_id=self._id(name, "alert", group.level, group.alerted),
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
            risk=self._risk(group),
            reasons=tuple(reasons),
            features={"accounts": float(len(group.accounts)), "accounts_named": float(len(group.named))},
            simulated=simulated,
            members=tuple(self._member(number) for number in group.named[:LISTED]),
            odometer=held,
        )

    def _decision(
        self, group: Group, which: int, action: int, sketches: Sketches, i: int, *, simulated: bool
    ) -> PendingDecision:
        time_ms = int(sketches.time[i])
        name = self.name_of(group)
        subject = name if which == STOPPED else f"{name}-throttled"
        group.revisions[which] += 1
        revision = group.revisions[which]
        group.held[which] = -action if simulated else action
        group.held_until_ms[which] = min(time_ms + lasts_ms(action, self._policy), LAST_MS)
        return PendingDecision(
            emitted=int(sketches.sequence[i]),
            sequence=int(sketches.sequence[i]),
            decision_id=self._id(subject, "decision", revision),
            revision=revision,
            supersedes=self._id(subject, "decision", revision - 1) if revision > 1 else None,
            client=subject,
            address=None,
            model=self.model,
            action=action,
            issued_ms=time_ms,
            expires_ms=group.held_until_ms[which],
            evidence=HARM if self.is_harmed(group) else EVIDENCE,
            text=self._headline(group),
            risk=self._risk(group),
            alert_id=self._id(name, "alert", group.level, group.alerted),
            simulated=simulated,
            members=tuple(self._member(number) for number in (group.stopped, group.throttled)[which]),
        )

    def snapshot(self) -> bytes:
        """Return the whole state. A linker that `restore` was called on with it goes on byte for byte the same."""
        held = None if self.holdings is None else self.holdings.state()
        return keeping.pack_linker(self._fingerprint, (self.entries, self.chains), self.groups, self.guard.state(), held)

    def restore(self, saved: bytes) -> None:
        """Restore what `snapshot` returned, into a linker of the same model and baseline.

        Raises `SnapshotError` for damaged bytes, and for a snapshot of another reference or other sizes: go on without it then.
        """
        like = (self.entries, self.chains)
        arrays, groups, guard, held_together = keeping.unpack_linker(saved, self._fingerprint, like, self.settings)
        held: tuple[npt.NDArray[Any], ...] = (*self.entries, *self.chains)
        for kept, array in zip(held, arrays, strict=True):
            kept[...] = array
        groups.worth = self.groups.worth
        self.groups = groups
        self.guard.restore(guard)
        if self.holdings is not None:
            self.holdings.restore(held_together)


def _in_force(group: Group, which: int, time_ms: int, *, simulated: bool) -> int:
    """Return the action of a group's decision in force; `Group.held` is below 0 where the decision is simulated.

    For a real decision only real ones are in force. Where it would be simulated, nothing exceeds a real one.
    """
    held = group.held[which]
    if time_ms >= group.held_until_ms[which] or (held < 0 and not simulated):
        return ALLOW
    return BLOCK if simulated and held > 0 else abs(held)


def _constructs(account: Account) -> bool:
    """Tell whether an account may be stopped: enough of its own queries were made from others.

    Whoever knows what somebody else has asked, or will ask, can ask queries beside it. That alone must stop nobody.
    """
    strong = sum(account.counts[kind] for kind in STRONG) if account.counts else 0
    return strong > 0 and strong >= OWN_SHARE * account.queries


def _tidy(value: float) -> float:
    """Return the value with six digits, so that documents do not depend on the last bit of a sum."""
    return float(f"{value:.6g}")
