"""Judgement: the findings and decisions that a moment in a client's stream calls for; `reasons` has the words for them.

A moment is a query with evidence of construction, or a scheduled evaluation, where harm is judged as well. A finding is raised
when evidence calls for a higher action than before, once per kind of evidence and action. An action that gateways carry out
becomes a pending decision if it is harder than the action in force, or if that has expired. A simulated decision never takes
the place of a real one, and a real one takes the place of any simulated one. A stop for which the guard has no room becomes a
throttle. All ids follow from client, model, evidence and count, so the same events give the same ids.
"""

import math
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from detector.contracts.moment import LAST_MS
from detector.engine.features.row import NAMES
from detector.engine.findings import Finding, HeldBack, Outputs, PendingDecision
from detector.engine.guard import StopGuard, tenfold
from detector.engine.memory.admission import evaluations_by
from detector.engine.memory.metered import READINGS
from detector.engine.models.novelty import Novelty
from detector.engine.moment import Judged, Moment, kind_of
from detector.engine.policy import (
    ALERT,
    ALLOW,
    PERTURB,
    THROTTLE,
    PolicySettings,
    Thresholds,
    action_in_force,
    channel_action,
    lasts_ms,
    novelty_action,
    permitted,
    vouched,
    with_company,
)
from detector.engine.reasons import Reasons, tidy
from detector.engine.state import HARM, NOVELTY, PLACES
from detector.ingest.batch import Batch, Sender

NAMESPACE: UUID = uuid5(NAMESPACE_URL, "urn:detector:v1")


class Judge:
    """Applies one model's thresholds and the operator's policy to its clients, within the limits of the `guard`."""

    def __init__(
        self, thresholds: Thresholds, policy: PolicySettings, novelty: Novelty, guard: StopGuard | None = None
    ) -> None:
        self.thresholds = thresholds
        self.guard = guard or StopGuard(policy)
        self._policy = policy
        self._novelty = novelty

    def adopt(self, thresholds: Thresholds, policy: PolicySettings) -> None:
        """Go on under another policy and its thresholds; decisions in force stay."""
        self.thresholds = thresholds
        self._policy = policy
        self.guard.adopt(policy)
        self.bind(self._clients)

    def bind(self, clients: Judged) -> None:
        """Set the client table whose clients are judged."""
        self._clients = clients
        self._reasons = Reasons(self.thresholds, self._policy, self._novelty, clients)

    def passes(self, slot: int, score: float) -> bool:
        """Return True if the score is below the alert threshold, and then reset the counter of consecutive exceedances."""
        if score >= self.thresholds.alert:
            return False
        self._clients.columns.standing.strange[slot] = 0
        return True

    def exceeds_budget(self, batch: Batch, event: int, slot: int) -> bool:
        """Tell whether the client holds more of the model than its budget allows."""
        if not self._policy.budgeted or (held := self._clients.reading(slot)) is None:
            return False
        return self._reasons.budget(batch, event, slot).action(held.lead) > ALLOW

    def judge(self, moment: Moment, outputs: Outputs) -> None:
        """Add to `outputs` what the moment calls for, and note it in the client's decision state."""
        thresholds = self.thresholds.after(moment.queries)
        for channel in with_company(moment.channels):
            action = self._worth_throttling(moment, channel, channel_action(channel, moment.peak, thresholds))
            self._weigh(moment, channel, action, float(moment.peak[channel]), outputs)
        if moment.score is not None:
            strange = self._clients.columns.standing.strange
            beyond = moment.score >= self.thresholds.alert
            strange[moment.slot] = min(int(strange[moment.slot]) + 1, 255) if beyond else 0
            action = novelty_action(moment.score, int(strange[moment.slot]), self.thresholds)
            self._weigh(moment, NOVELTY, self._worth_throttling(moment, NOVELTY, action), moment.score, outputs)
            if self.exceeds_budget(moment.batch, moment.event, moment.slot):
                held = self._clients.reading(moment.slot)
                assert held is not None  # noqa: S101  # it exceeds a budget
                action = self._reasons.budget(moment.batch, moment.event, moment.slot).action(held.lead)
                self._weigh(moment, HARM, action, held.lead, outputs)
        for odd in moment.odds:
            action = ALERT if odd.evidence >= self.thresholds.conduct else ALLOW
            self._weigh(moment, NOVELTY + 1 + odd.question, action, odd.evidence, outputs)

    def _worth_throttling(self, moment: Moment, place: int, action: int) -> int:
        """Return the action that novelty calls for: an alert instead of a throttle where too little of the model has leaked."""
        if action != THROTTLE or kind_of(place) != "novelty" or not self._clients.metered:
            return action
        held = self._clients.reading(moment.slot)
        return action if (0.0 if held is None else held.lead) >= self._policy.throttle_from else ALERT

    def _weigh(self, moment: Moment, place: int, wanted: int, score: float, outputs: Outputs) -> None:
        if wanted < ALERT:
            return
        standing = self._clients.columns.standing
        s = moment.slot
        time_ms = self._time_ms(moment)
        account = self._clients.account(s)
        sender = moment.batch.sender[moment.event]
        protected = self._policy.protects(account.client, sender.organization)
        action = permitted(wanted, trusted=self.vouched(sender), protected=protected)
        simulated = self._simulates(moment, place)
        queries = moment.asked(place)
        rises = wanted > standing.reached[s, place]
        in_force = self._in_force(s, time_ms, simulated=simulated)
        refusal = None
        if action >= PERTURB > in_force:
            refusal = self.guard.refusal(time_ms, self._stopped(time_ms, simulated=simulated), simulated=simulated)
            action = action if refusal is None else THROTTLE
        if rises:
            standing.reached[s, place] = wanted
            if place == HARM:
                self._clients.columns.metered.met[s] = self._clients.columns.metered.read[s]
            elif place <= NOVELTY:
                standing.reached_at[s, place] = queries
        at = self._reached_at(s, place, queries)
        alert_id = self._id(s, "alert", place, int(standing.reached[s, place]), at)
        if rises:
            outputs.findings.append(self._finding(moment, place, action, score, alert_id, simulated=simulated))
        standing.highest[s] = max(int(standing.highest[s]), action)
        if refusal is not None:
            self._hold_back(moment, refusal, outputs, simulated=simulated)
        if action < THROTTLE or action <= in_force:
            return
        revision = int(standing.revision[s]) + 1
        standing.revision[s] = revision
        standing.held[s] = action
        standing.simulated[s] = simulated
        standing.held_until_ms[s] = min(time_ms + lasts_ms(action, self._policy), LAST_MS)
        rate, slowed = self._rate(s) if action == THROTTLE else (None, "")
        spared = "" if refusal is None else f"; not stopped: {refusal}"
        outputs.pending_decisions.append(
            PendingDecision(
                emitted=moment.emitted,
                sequence=int(moment.batch.sequence[moment.event]),
                decision_id=self._id(s, "decision", revision),
                revision=revision,
                supersedes=self._id(s, "decision", revision - 1) if revision > 1 else None,
                client=account.client,
                address=account.address,
                model=self._clients.model,
                action=action,
                issued_ms=time_ms,
                expires_ms=int(standing.held_until_ms[s]),
                evidence=PLACES[place],
                text=self._reasons.headline(moment, place, score) + slowed + spared,
                risk=self._reasons.risk(place, score, moment.queries),
                alert_id=alert_id,
                simulated=simulated,
                requests_per_minute=rate,
            )
        )

    def _rate(self, slot: int) -> tuple[int | None, str]:
        """Return the rate of a throttle and what is said of it; None where it is that of everybody."""
        held = self._clients.reading(slot)
        if self._policy.halving_lead is None or held is None:
            return None, ""
        rate = self._policy.rate_at(held.lead)
        if rate == self._policy.requests_per_minute:
            return None, ""
        return rate, f"; {rate} requests a minute at lead {held.lead:.2f}, of {self._policy.requests_per_minute}"

    def _reached_at(self, slot: int, place: int, queries: int) -> int:
        """Return how many queries the evidence at a place had led to its highest action after; conduct has only alerts."""
        if place == HARM:
            return int(READINGS[int(self._clients.columns.metered.met[slot]) - 1])
        return int(self._clients.columns.standing.reached_at[slot, place]) if place <= NOVELTY else queries

    def _simulates(self, moment: Moment, place: int) -> bool:
        """Tell whether a decision is simulated: where its evidence is, or the company without which it would not stop."""
        beside = self._reasons.companion(moment, place)
        found = [place] if beside is None else [place, beside]
        return any(self._policy.simulates(self._clients.model, PLACES[one]) for one in found)

    def _in_force(self, slot: int, time_ms: int, *, simulated: bool) -> int:
        """Return the action in force that a decision about a client has to exceed."""
        standing = self._clients.columns.standing
        before = bool(standing.simulated[slot])
        held, until_ms = int(standing.held[slot]), int(standing.held_until_ms[slot])
        return action_in_force(held, until_ms, time_ms, was_simulated=before, simulated=simulated)

    def _stopped(self, time_ms: int, *, simulated: bool) -> int:
        """Return how many clients are stopped at this time; 0 where the guard need not know."""
        if not self.guard.measures_share:
            return 0
        standing = self._clients.columns.standing
        stopped = (standing.held >= PERTURB) & (standing.held_until_ms > time_ms) & (standing.simulated == simulated)
        return int(np.count_nonzero(stopped))

    def _hold_back(self, moment: Moment, refusal: str, outputs: Outputs, *, simulated: bool) -> None:
        """Note that a stop is held back, once for each client of an episode; an alert says so at 1, 10, 100 and so on."""
        standing = self._clients.columns.standing
        s = moment.slot
        time_ms = self._time_ms(moment)
        episode = self.guard.episode(time_ms, simulated=simulated)
        if standing.held_back[s] == episode.number:
            return
        standing.held_back[s] = episode.number
        episode.clients += 1
        if not tenfold(episode.clients):
            return
        counted = "1 client is" if episode.clients == 1 else f"{episode.clients:,} clients are"
        outputs.held_back.append(
            HeldBack(
                emitted=moment.emitted,
                sequence=int(moment.batch.sequence[moment.event]),
                alert_id=self._id(s, "held back", episode.first_ms, episode.clients, simulated),
                time_ms=time_ms,
                first_ms=min(episode.first_ms, time_ms),
                client=self._clients.account(s).client,
                model=self._clients.model,
                version=moment.batch.version[moment.event],
                sender=moment.batch.sender[moment.event],
                queries=max(moment.queries, 1),
                clients=episode.clients,
                text=f"{counted} throttled instead of stopped: {refusal}",
                simulated=simulated,
            )
        )

    def vouched(self, sender: Sender) -> bool:
        """Tell whether the query's identity is one that the caller cannot have forged."""
        return vouched(sender, self._policy)

    def _time_ms(self, moment: Moment) -> int:
        """Return the event time, or the client's latest event time for a refused query without a known one."""
        return int(moment.batch.time[moment.event]) or int(self._clients.columns.admission.latest_ms[moment.slot])

    def _id(self, slot: int, *parts: object) -> str:
        # A client that was forgotten for lack of evidence may return; its first event time tells the two periods apart.
        first = int(self._clients.columns.admission.first_ms[slot])
        name = "\x1f".join(map(str, (self._clients.key, self._clients.name(slot), first, *parts)))
        return str(uuid5(NAMESPACE, name))

    def _finding(self, moment: Moment, place: int, action: int, score: float, alert_id: str, *, simulated: bool) -> Finding:
        batch = moment.batch
        i = moment.event
        kind = kind_of(place)
        queries = moment.asked(place)
        known = bool(np.isfinite(moment.row).any() and moment.row.any())  # before its first evaluation a client has no features
        account = self._clients.account(moment.slot)
        return Finding(
            emitted=moment.emitted,
            sequence=int(batch.sequence[i]),
            alert_id=alert_id,
            time_ms=self._time_ms(moment),
            first_ms=int(self._clients.columns.admission.first_ms[moment.slot]),
            client=account.client,
            model=self._clients.model,
            version=batch.version[i],
            sender=batch.sender[i],
            queries=queries,
            look=evaluations_by(queries),
            kind=kind,
            evidence=PLACES[place],
            action=action,
            score=tidy(score),
            risk=self._reasons.risk(place, score, moment.queries),
            reasons=tuple(self._reasons.of(moment, place, score)),
            features={
                name: tidy(float(value))
                for name, value in zip(NAMES, moment.row, strict=True)
                if known and math.isfinite(value)
            },
            simulated=simulated,
            odometer=self._clients.reading(moment.slot),
        )
