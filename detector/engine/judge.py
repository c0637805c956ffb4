"""Judgement: the findings and decisions that a moment in a client's stream calls for, and the words for them.

A moment is a query with evidence of construction, or a scheduled evaluation, where harm is judged as well. A finding is raised
when evidence calls for a higher action than before, once per kind of evidence and action. An action that gateways carry out
becomes a pending decision if it is harder than the action in force, or if that has expired. A simulated decision never takes
the place of a real one, and a real one takes the place of any simulated one. A stop for which the guard has no room becomes a
throttle. All ids follow from client, model, evidence and count, so the same events give the same ids.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import numpy.typing as npt

from detector.contracts.moment import LAST_MS
from detector.engine.account import Account
from detector.engine.evidence.accumulate import MAY_STOP
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.features.row import NAMES
from detector.engine.findings import Finding, FindingReason, HeldBack, Kind, Outputs, PendingDecision, Reading
from detector.engine.guard import StopGuard, tenfold
from detector.engine.memory.admission import evaluations_by
from detector.engine.memory.metered import READINGS
from detector.engine.models.novelty import Novelty
from detector.engine.policy import (
    ALERT,
    ALLOW,
    COMPANY_SHARE,
    PERTURB,
    THROTTLE,
    Budget,
    PolicySettings,
    Thresholds,
    action_in_force,
    channel_action,
    companion_of,
    lasts_ms,
    novelty_action,
    permitted,
    vouched,
    with_company,
)
from detector.engine.state import HARM, NOVELTY, PLACES, Columns
from detector.ingest.batch import Batch, Sender

NAMESPACE: UUID = uuid5(NAMESPACE_URL, "urn:detector:v1")
SHOWN_FEATURES = 4


@dataclass(frozen=True, slots=True)
class ConductEvidence:
    """A client's conduct is above the usual share: `question` says in what (`conduct.QUESTIONS`), `hits` of `records` show it.

    `evidence` is the logarithm of odds against the `usual` share.
    """

    question: int
    evidence: float
    hits: int
    records: int
    usual: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One query of a client that has to be judged.

    `score` is set at scheduled evaluations, and `row` are the features at the latest one. `odds` are set where the client's
    conduct was evaluated and is above the usual share.
    """

    batch: Batch
    event: int
    slot: int
    queries: int
    peak: npt.NDArray[np.float32]
    channels: list[int]
    score: float | None
    odds: tuple[ConductEvidence, ...]
    row: npt.NDArray[np.float64]
    emitted: int

    def odd(self, place: int) -> ConductEvidence:
        """Return the evidence of conduct at a place behind novelty."""
        return next(odd for odd in self.odds if NOVELTY + 1 + odd.question == place)

    def asked(self, place: int) -> int:
        """Return how many queries a kind of evidence is based on: for conduct all records, refused ones included."""
        return self.odd(place).records if is_conduct(place) else self.queries


class Judged(Protocol):
    """The client table whose clients are judged, as far as the judge needs it."""

    model: str
    key: str
    columns: Columns

    def name(self, slot: int) -> str:
        """Return the key of the account at a slot."""
        ...

    def account(self, slot: int) -> Account:
        """Return the account at a slot."""
        ...

    def examples(self, slot: int, channel: int) -> tuple[str, ...]:
        """Return ids of the latest events that carried evidence in a channel."""
        ...

    def reading(self, slot: int) -> Reading | None:
        """Return the highest reading of the odometer, None where there is none."""
        ...

    @property
    def metered(self) -> bool:
        """Whether the odometer measures the model."""
        ...


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

    def bind(self, clients: Judged) -> None:
        """Set the client table whose clients are judged."""
        self._clients = clients

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
        return self._budget(batch, event, slot).action(held.lead) > ALLOW

    def _budget(self, batch: Batch, event: int, slot: int) -> Budget:
        return self._policy.budget_of(self._clients.model, self._clients.account(slot).client, batch.sender[event])

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
                action = self._budget(moment.batch, moment.event, moment.slot).action(held.lead)
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
                text=self._headline(moment, place, score) + slowed + ("" if refusal is None else f"; not stopped: {refusal}"),
                risk=self._risk(place, score, moment.queries),
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
        beside = self._companion(moment, place)
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

    def _headline(self, moment: Moment, place: int, score: float) -> str:
        queries = moment.queries
        meaning = EVIDENCE[PLACES[place]].meaning
        if place == HARM:
            return self._budget_told(moment, score)
        if is_conduct(place):
            odd = moment.odd(place)
            return (
                f"{odd.hits:,} of {odd.records:,} {meaning}, at most {odd.usual:.1%} are usual: evidence {score:.1f}, "
                f"alert at {self.thresholds.conduct:.1f}"
            )
        if place == NOVELTY:
            return (
                f"unlike every known benign client: novelty {score:.2f}, alert at {self.thresholds.alert:.2f}, "
                f"after {queries} queries"
            )
        treated = "stop" if MAY_STOP[place] else "throttle"
        told = f"{meaning}: evidence {score:.1f}, {treated} at {self._threshold(moment, place):.1f}, after {queries} queries"
        beside = self._companion(moment, place)
        if beside is None:
            return told
        return (
            f"{told}; {self.thresholds.stop[place] * COMPANY_SHARE:.1f} is enough here, as {EVIDENCE[PLACES[beside]].meaning}: "
            f"evidence {moment.peak[beside]:.1f}, threshold {self.thresholds.stop[beside]:.1f}"
        )

    def _budget_told(self, moment: Moment, lead: float) -> str:
        budget = self._budget(moment.batch, moment.event, moment.slot)
        limits = ((budget.degrade_at, "labels only"), (budget.stop_at, "blocked"))
        told = ", ".join(f"{what} from {limit:.2f}" for limit, what in limits if limit is not None)
        held = self._clients.reading(moment.slot)
        interval = "" if held is None else f" ({held.low:.2f} to {held.high:.2f}), read after {held.queries} queries"
        return f"{EVIDENCE[PLACES[HARM]].meaning}: lead {lead:.2f}{interval}; {told}"

    def _companion(self, moment: Moment, place: int) -> int | None:
        """Return the channel without whose company the evidence at a place would not stop, None where there is none."""
        if place >= NOVELTY or moment.peak[place] >= self.thresholds.stop[place]:
            return None
        return companion_of(place, moment.peak, self.thresholds)

    def _risk(self, place: int, score: float, queries: int) -> float:
        """Map a score to 0-100: novelty up to 60, construction from 42 at its first alert to 100."""
        if place == NOVELTY:
            return round(min(60.0, 30.0 * score / self.thresholds.alert), 1)
        if place == HARM:
            return round(100.0 * score, 1)
        if is_conduct(place):
            return round(min(60.0, 30.0 * score / self.thresholds.conduct), 1)
        if not MAY_STOP[place]:
            return round(min(60.0, 50.0 * score / self.thresholds.after(queries).stop[place]), 1)
        return round(min(100.0, 70.0 * score / self.thresholds.stop[place]), 1)

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
            score=_tidy(score),
            risk=self._risk(place, score, moment.queries),
            reasons=tuple(self._reasons(moment, place, score)),
            features={
                name: _tidy(float(value))
                for name, value in zip(NAMES, moment.row, strict=True)
                if known and math.isfinite(value)
            },
            simulated=simulated,
            odometer=self._clients.reading(moment.slot),
        )

    def _reasons(self, moment: Moment, place: int, score: float) -> list[FindingReason]:
        """Return the figures behind a finding: the evidence itself, then the most unusual features."""
        slot = moment.slot
        if place != NOVELTY:
            name = PLACES[place]
            stop = self._threshold(moment, place)
            reason = FindingReason(
                kind_of(place),
                name,
                _tidy(score),
                1.0,
                self._headline(moment, place, score),
                threshold=_tidy(stop),
                event_ids=self._clients.examples(slot, place),
            )
            beside = self._companion(moment, place)
            return [reason] if beside is None else [replace(reason, weight=0.5), self._beside(moment, beside)]
        reasons = [
            FindingReason(
                "novelty",
                "novelty",
                _tidy(score),
                1.0,
                self._headline(moment, place, score),
                threshold=_tidy(self.thresholds.alert),
                event_ids=(moment.batch.event_id[moment.event],),
            )
        ]
        deviations = self._novelty.deviations(moment.row, moment.queries)[:SHOWN_FEATURES]
        total = sum(abs(away) for *_, away in deviations) or 1.0
        for name, value, (low, median, high), away in deviations:
            side = "above" if value > high else "below" if value < low else "within"
            reasons.append(
                FindingReason(
                    "novelty",
                    name,
                    _tidy(value),
                    _tidy(abs(away) / total),
                    f"{name} {value:.3g} is {side} the benign range {low:.3g} to {high:.3g}",
                    low=_tidy(low),
                    median=_tidy(median),
                    high=_tidy(high),
                )
            )
        return reasons

    def _threshold(self, moment: Moment, place: int) -> float:
        if place == HARM:
            limit = self._budget(moment.batch, moment.event, moment.slot).limit
            return math.inf if limit is None else limit
        return self.thresholds.after(moment.queries).stop[place] if place < NOVELTY else self.thresholds.conduct

    def _beside(self, moment: Moment, channel: int) -> FindingReason:
        """Return the figure of a channel whose company lets another one stop a client."""
        score = float(moment.peak[channel])
        return FindingReason(
            kind_of(channel),
            PLACES[channel],
            _tidy(score),
            0.5,
            self._headline(moment, channel, score),
            threshold=_tidy(self.thresholds.stop[channel]),
            event_ids=self._clients.examples(moment.slot, channel),
        )


def is_conduct(place: int) -> bool:
    """Tell whether a place is one of conduct: behind novelty, before harm."""
    return NOVELTY < place < HARM


def kind_of(place: int) -> Kind:
    """Return the kind of the evidence at a place: a channel, or novelty, conduct or harm behind them."""
    return EVIDENCE[PLACES[place]].kind


def _tidy(value: float) -> float:
    """Return the value with six digits, so that documents do not depend on the last bit of a sum."""
    return float(f"{value:.6g}")
