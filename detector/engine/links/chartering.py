"""Chartering: what is done about an organisation whose accounts hold as much of a model together as its budget allows.

Its lead is compared with the budget that the operator has set for organisations; without one nothing is done. Policy and the
guard hold as for clients: an organisation that is on the lists of who is never stopped, or one of whose accounts is, is
throttled at most, and a stop that would stop too many accounts is held back.

A decision that has ended is made again when the organisation asks the next new query.
"""

from detector.contracts.moment import LAST_MS
from detector.engine.account import account_of
from detector.engine.findings import Finding, FindingReason, HeldBack, Outputs, PendingDecision, Reading
from detector.engine.guard import StopGuard, tenfold
from detector.engine.links.deciding import stopped_elsewhere
from detector.engine.links.joined import Account
from detector.engine.links.organizations import Organization, Organizations
from detector.engine.links.sketch import Sketches
from detector.engine.links.telling import HARM, LISTED, Telling
from detector.engine.policy import ALERT, ALLOW, BLOCK, PERTURB, THROTTLE, action_in_force, lasts_ms, permitted
from detector.ingest.batch import Sender

AGAIN_MS = 60_000  # after it, an organisation that is not stopped as its lead calls for is judged again


class Chartering:
    """Decides about the organisations of one model."""

    def __init__(self, telling: Telling, organizations: Organizations, guard: StopGuard) -> None:
        self._telling = telling
        self._organizations = organizations
        self._guard = guard

    def weigh(self, found: Organization, sketches: Sketches, i: int, uid: int, outputs: Outputs) -> None:
        """Read what an organisation holds where that is due, and add to the outputs what its budget calls for."""
        time_ms = int(sketches.time[i])
        if self._organizations.is_due(found):
            self._organizations.read(found, uid)
        elif not found.held or not (
            time_ms >= found.held_until_ms or (found.held < found.level and time_ms >= found.judged_ms + AGAIN_MS)
        ):
            return
        found.judged_ms = time_ms
        reading = self._organizations.reading(found)
        budget = self._telling.policy.organization_budget(self._telling.model, found.name)
        wanted = ALLOW if reading is None else budget.action(reading.lead)
        if reading is not None and wanted >= ALERT:
            self._decide(found, wanted, reading, sketches, i, outputs)

    def _decide(self, found: Organization, wanted: int, reading: Reading, sketches: Sketches, i: int, outputs: Outputs) -> None:
        time_ms = int(sketches.time[i])
        policy = self._telling.policy
        members = self._members(found)
        protected = policy.protects("", found.name) or any(
            account_of(account.key).client in policy.never_block for account in members
        )
        action = permitted(wanted, trusted=True, protected=protected)
        simulated = policy.simulates(self._telling.model, HARM)
        in_force = _in_force(found, time_ms, simulated=simulated)
        refusal = None
        if action >= PERTURB > in_force:
            # All of its accounts are stopped at once, so the last of them is what there has to be room for.
            stopped = self._stopped(found, time_ms, simulated=simulated) + max(len(members) - 1, 0)
            refusal = self._guard.refusal(time_ms, stopped, simulated=simulated)
            action = action if refusal is None else THROTTLE
        text = self._headline(found, reading, max(len(members), len(found.members))) + (
            "" if refusal is None else f"; not stopped: {refusal}"
        )
        if wanted > found.level:
            found.level, found.alerted = wanted, found.queries
            outputs.findings.append(self._finding(found, action, reading, members, text, sketches, i, simulated=simulated))
        if refusal is not None:
            self._hold_back(found, refusal, sketches, i, outputs, simulated=simulated)
        if action < THROTTLE or action <= in_force:
            return
        found.revision += 1
        found.held, found.simulated = action, simulated
        found.held_until_ms = min(time_ms + lasts_ms(action, policy), LAST_MS)
        outputs.pending_decisions.append(
            PendingDecision(
                emitted=int(sketches.sequence[i]),
                sequence=int(sketches.sequence[i]),
                decision_id=self._id(found, "decision", found.revision),
                revision=found.revision,
                supersedes=self._id(found, "decision", found.revision - 1) if found.revision > 1 else None,
                client=found.name,
                address=None,
                model=self._telling.model,
                action=action,
                issued_ms=time_ms,
                expires_ms=found.held_until_ms,
                evidence=HARM,
                text=text,
                risk=round(100.0 * reading.lead, 1),
                alert_id=self._id(found, "alert", found.level, found.alerted),
                simulated=simulated,
                subject="organization",
            )
        )

    def _members(self, found: Organization) -> list[Account]:
        """Return the accounts of an organisation that are remembered, those that asked most first."""
        groups = self._telling.groups
        own = [
            account
            for accounts in (groups.grouped, groups.accounts)
            for account in accounts.values()
            if account.organization == found.name
        ]
        return sorted(own, key=lambda account: (-account.queries, account.key))

    def _stopped(self, found: Organization, time_ms: int, *, simulated: bool) -> int:
        """Return how many accounts are stopped at this time, those of other organisations included."""
        if not self._guard.measures_share:
            return 0
        others = (
            len(self._members(other))
            for other in self._organizations.known.values()
            if other is not found and other.held >= PERTURB and _in_force(other, time_ms, simulated=simulated) >= PERTURB
        )
        return sum(others) + stopped_elsewhere(self._telling.groups, None, time_ms, simulated=simulated)

    def _hold_back(
        self, found: Organization, refusal: str, sketches: Sketches, i: int, outputs: Outputs, *, simulated: bool
    ) -> None:
        """Note that a stop is held back, once in an episode; an alert says so at 1, 10, 100 and so on."""
        time_ms = int(sketches.time[i])
        episode = self._guard.episode(time_ms, simulated=simulated)
        if found.held_back == episode.number:
            return
        found.held_back = episode.number
        episode.clients += 1
        if not tenfold(episode.clients):
            return
        outputs.held_back.append(
            HeldBack(
                emitted=int(sketches.sequence[i]),
                sequence=int(sketches.sequence[i]),
                alert_id=self._id(found, "held back", episode.first_ms, episode.clients, simulated),
                time_ms=time_ms,
                first_ms=min(episode.first_ms, time_ms),
                client=account_of(sketches.account[i]).client,
                model=self._telling.model,
                version=sketches.version[i],
                sender=sketches.sender[i],
                queries=max(found.queries, 1),
                clients=episode.clients,
                text=f"organisation {found.name} is throttled instead of stopped: {refusal}",
                simulated=simulated,
            )
        )

    def _headline(self, found: Organization, reading: Reading, members: int) -> str:
        budget = self._telling.policy.organization_budget(self._telling.model, found.name)
        limits = ((budget.degrade_at, "labels only"), (budget.stop_at, "blocked"))
        told = ", ".join(f"{what} from {limit:.2f}" for limit, what in limits if limit is not None)
        return (
            f"{members:,} accounts of organisation {found.name} hold a lead of {reading.lead:.2f} ({reading.low:.2f} to "
            f"{reading.high:.2f}) together, read after {reading.queries:,} queries; organisations: {told}"
        )

    def _finding(
        self,
        found: Organization,
        action: int,
        reading: Reading,
        members: list[Account],
        text: str,
        sketches: Sketches,
        i: int,
        *,
        simulated: bool,
    ) -> Finding:
        budget = self._telling.policy.organization_budget(self._telling.model, found.name)
        limit = budget.stop_at if found.level == BLOCK else budget.degrade_at
        most = max((account.queries for account in members), default=0)
        return Finding(
            emitted=int(sketches.sequence[i]),
            sequence=int(sketches.sequence[i]),
            alert_id=self._id(found, "alert", found.level, found.alerted),
            time_ms=int(sketches.time[i]),
            first_ms=min(found.first_ms, int(sketches.time[i])),
            client=found.name,
            model=self._telling.model,
            version=sketches.version[i],
            sender=Sender(organization=found.name),
            queries=max(found.queries, 1),
            look=0,
            kind="harm",
            evidence=HARM,
            action=action,
            score=reading.lead,
            risk=round(100.0 * reading.lead, 1),
            reasons=(FindingReason("harm", HARM, reading.lead, 1.0, text, threshold=limit),),
            features={"accounts": float(len(members)), "largest_share": round(min(most / max(found.queries, 1), 1.0), 4)},
            simulated=simulated,
            members=tuple(self._telling.member(account.number) for account in members[:LISTED]),
            odometer=reading,
            subject="organization",
        )

    def _id(self, found: Organization, *parts: object) -> str:
        # One that was forgotten may return; its first event time tells the two periods apart.
        return self._telling.id_of("organization", found.name, found.first_ms, *parts)


def _in_force(found: Organization, time_ms: int, *, simulated: bool) -> int:
    """Return the action in force that a decision about an organisation has to exceed."""
    return action_in_force(found.held, found.held_until_ms, time_ms, was_simulated=found.simulated, simulated=simulated)
