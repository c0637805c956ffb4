"""Deciding: which accounts of a campaign are stopped, which are throttled, and when a decision says so.

A campaign has two decisions, each of which names accounts: stops, and throttles where a stop is not permitted. Policy, trust
and the guard hold as they do for clients.
"""

import msgspec

from detector.contracts.decision import THROTTLED_TOO
from detector.contracts.moment import LAST_MS
from detector.engine.account import account_of
from detector.engine.findings import HeldBack, Outputs, PendingDecision
from detector.engine.guard import StopGuard, tenfold
from detector.engine.links.evidence import STRONG
from detector.engine.links.groups import Groups
from detector.engine.links.joined import Account, Group
from detector.engine.links.sketch import Sketches
from detector.engine.links.telling import EVIDENCE, HARD, HARM, Telling
from detector.engine.policy import ALLOW, BLOCK, PERTURB, THROTTLE, action_in_force, lasts_ms, permitted, vouched
from detector.ingest.batch import Sender

AT_ONCE = 32  # named accounts up to which each leads to a decision at once
GROWN = 16  # beyond it, one in so many accounts that are new does, or
PAUSE_MS = 10_000  # so much time since the last decision
RETRY_MS = 60_000  # after it, stops that were held back are tried again
MOST_MEMBERS = 2000  # accounts that a decision names: a record must fit into a message
MOST_MEMBER_BYTES = 700_000  # of their names in it: Kafka takes 1 MB by default
MEMBER_BYTES = 32  # of a member's record besides its names
OWN_SHARE = 0.05  # least share of an account's queries that are strong events, for a stop
STOPPED, THROTTLED = 0, 1  # the two decisions of a campaign


class Deciding:
    """Decides about the campaigns of one model."""

    def __init__(self, telling: Telling, guard: StopGuard) -> None:
        self._telling = telling
        self._guard = guard

    def decide(self, group: Group, sketches: Sketches, i: int, outputs: Outputs) -> None:
        """Decide about the named accounts, all at once where there are many new ones."""
        time_ms = int(sketches.time[i])
        action = BLOCK if group.level >= HARD else PERTURB
        simulated = self._telling.simulates(group)
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
            if simulated and not group.simulated[which] and in_force[which] > ALLOW:
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
        elsewhere = stopped_elsewhere(self._telling.groups, group, time_ms, simulated=simulated)
        for number in self._members_that_fit(group):
            account = self._telling.groups.grouped[number]
            trusted = vouched(Sender(trusted=account.trusted), self._telling.policy)
            protected = self._telling.policy.protects(account_of(account.key).client, account.organization)
            if permitted(action, trusted=trusted, protected=protected) < action:
                throttled.append(number)
                continue
            if number not in held:
                if not _constructs(account):
                    throttled.append(number)
                    group.held_back += 1
                    continue
                refusal = self._guard.refusal(time_ms, elsewhere + len(stopped), simulated=simulated)
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
            account = self._telling.member(number)
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
        episode = self._guard.episode(time_ms, simulated=simulated)
        group.held_back += 1
        if account.held_back == episode.number:
            return
        account.held_back = episode.number
        episode.clients += 1
        if not tenfold(episode.clients):
            return
        name = self._telling.name_of(group)
        counted = "1 account is" if episode.clients == 1 else f"{episode.clients:,} accounts are"
        outputs.held_back.append(
            HeldBack(
                emitted=int(sketches.sequence[i]),
                sequence=int(sketches.sequence[i]),
                alert_id=self._telling.id_of(name, "held back", episode.first_ms, episode.clients, simulated),
                time_ms=time_ms,
                first_ms=min(episode.first_ms, time_ms),
                client=account_of(account.key).client,
                model=self._telling.model,
                version=sketches.version[i],
                sender=sketches.sender[i],
                queries=max(account.queries, 1),
                clients=episode.clients,
                text=f"{counted} of {name} throttled instead of stopped: {refusal}",
                simulated=simulated,
            )
        )

    def _decision(
        self, group: Group, which: int, action: int, sketches: Sketches, i: int, *, simulated: bool
    ) -> PendingDecision:
        time_ms = int(sketches.time[i])
        name = self._telling.name_of(group)
        subject = name if which == STOPPED else name + THROTTLED_TOO
        group.revisions[which] += 1
        revision = group.revisions[which]
        if action > _in_force(group, which, time_ms, simulated=simulated):
            group.held_until_ms[which] = min(time_ms + lasts_ms(action, self._telling.policy), LAST_MS)
        # Else more accounts were named: it ends when it would have, so that what a person has lifted stays lifted until then.
        group.held[which], group.simulated[which] = action, simulated
        return PendingDecision(
            emitted=int(sketches.sequence[i]),
            sequence=int(sketches.sequence[i]),
            decision_id=self._telling.id_of(subject, "decision", revision),
            revision=revision,
            supersedes=self._telling.id_of(subject, "decision", revision - 1) if revision > 1 else None,
            client=subject,
            address=None,
            model=self._telling.model,
            action=action,
            issued_ms=time_ms,
            expires_ms=group.held_until_ms[which],
            evidence=HARM if self._telling.is_harmed(group) else EVIDENCE,
            text=self._telling.headline(group),
            risk=self._telling.risk(group),
            alert_id=self._telling.id_of(name, "alert", group.level, group.alerted),
            simulated=simulated,
            members=tuple(self._telling.member(number) for number in (group.stopped, group.throttled)[which]),
            subject="campaign",
        )


def stopped_elsewhere(groups: Groups, own: Group | None, time_ms: int, *, simulated: bool) -> int:
    """Return how many accounts the decisions about other campaigns than `own` stop at this time."""
    return sum(
        len(other.stopped)
        for other in groups.groups.values()
        if other is not own and _in_force(other, STOPPED, time_ms, simulated=simulated) > ALLOW
    )


def _in_force(group: Group, which: int, time_ms: int, *, simulated: bool) -> int:
    """Return the action in force that one of the two decisions about a campaign has to exceed."""
    before = group.simulated[which]
    return action_in_force(group.held[which], group.held_until_ms[which], time_ms, was_simulated=before, simulated=simulated)


def _constructs(account: Account) -> bool:
    """Tell whether an account may be stopped: enough of its own queries were made from others.

    Whoever knows what somebody else has asked, or will ask, can ask queries beside it. That alone must stop nobody.
    """
    strong = sum(account.counts[kind] for kind in STRONG) if account.counts else 0
    return strong > 0 and strong >= OWN_SHARE * account.queries
