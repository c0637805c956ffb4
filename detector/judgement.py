"""Judgement: what a moment in a client's stream calls for, and the words for it.

A moment is a query that carried evidence of construction, or a look. If evidence reaches a higher action than before, a
finding is raised, once per kind of evidence and step of the ladder; an action that gateways carry out becomes an order, if it
is harder than what is in force or that has run out. All ids follow from client, model, evidence and count, so repeating the
work repeats the ids.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import numpy.typing as npt

from detector.evidence.accumulate import CHANNELS, MAY_STOP
from detector.features import NAMES
from detector.features.admission import looks_by
from detector.findings import Finding, Kind, Order, Outputs, Reason
from detector.ingest.batch import Batch
from detector.models.novelty import Novelty
from detector.policy import (
    ALERT,
    THROTTLE,
    Bars,
    Terms,
    construction_action,
    lasts_ms,
    novelty_action,
    permitted,
)
from detector.state import NOVELTY

if TYPE_CHECKING:
    from detector.cohort import Cohort

NAMESPACE: UUID = uuid5(NAMESPACE_URL, "urn:detector:v1")
SHOWN_FEATURES = 4

WORDS = {
    "offset": "queries are earlier queries moved by one flat step, as data augmentation along the model's gradient does",
    "bisect": "queries halve the way between earlier queries with different answers, as a search for the boundary does",
    "aim": "queries are short steps from earlier ones towards others with other answers, as walks along the boundary are",
    "probe": "queries are earlier queries with single values moved there and back, as an estimate of a gradient needs",
    "sens": "short steps away from confident answers cost far more confidence than distance explains, as gradient steps do",
    "dwell": "queries stay where two answers meet and the answer flips between neighbours, as decision-based attacks do",
    "select": "queries keep one large and slowly shrinking distance from all earlier ones, as examples selected to cover do",
    "foreign": "queries differ from each other where the population's hardly vary, as noise and other kinds of pictures do",
    "cooccur": "records combine values that the population never shows together, as records put together column by column do",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One query of a client that has to be judged; `score` is there at looks, `row` are the features last looked at."""

    batch: Batch
    event: int
    slot: int
    queries: int
    peak: npt.NDArray[np.float32]
    channels: list[int]
    score: float | None
    row: npt.NDArray[np.float64]
    emitted: int


class Judge:
    """Applies one model's bars and the operator's terms to its cohort."""

    def __init__(self, bars: Bars, terms: Terms, novelty: Novelty) -> None:
        self.bars = bars
        self._terms = terms
        self._novelty = novelty

    def bind(self, cohort: "Cohort") -> None:
        """Say whose clients are judged."""
        self._cohort = cohort

    def passes(self, slot: int, score: float) -> bool:
        """Tell whether a look calls for nothing, as nearly all do; then that is noted, and it need not be judged."""
        if score >= self.bars.alert:
            return False
        self._cohort.columns.standing.strange[slot] = 0
        return True

    def judge(self, moment: Moment, outputs: Outputs) -> None:
        """Add to `outputs` what the moment calls for, and note it in the client's standing."""
        for channel in moment.channels:
            score = float(moment.peak[channel])
            action = min(construction_action(score, self.bars.stop[channel]), self.bars.limit[channel])
            self._weigh(moment, channel, action, score, outputs)
        if moment.score is not None:
            strange = self._cohort.columns.standing.strange
            beyond = moment.score >= self.bars.alert
            strange[moment.slot] = min(int(strange[moment.slot]) + 1, 255) if beyond else 0
            action = novelty_action(moment.score, int(strange[moment.slot]), self.bars)
            self._weigh(moment, NOVELTY, action, moment.score, outputs)

    def _weigh(self, moment: Moment, place: int, wanted: int, score: float, outputs: Outputs) -> None:
        if wanted < ALERT:
            return
        standing = self._cohort.columns.standing
        s = moment.slot
        time_ms = int(moment.batch.time[moment.event])
        sender = moment.batch.sender[moment.event]
        client = self._cohort.name(s)
        action = permitted(wanted, trusted=sender.trusted, protected=client in self._terms.never_block)
        rises = wanted > standing.reached[s, place]
        over = time_ms >= standing.held_until_ms[s]
        if rises:
            standing.reached[s, place] = wanted
            standing.reached_at[s, place] = moment.queries
        alert_id = self._id(s, "alert", place, int(standing.reached[s, place]), int(standing.reached_at[s, place]))
        if rises:
            outputs.findings.append(self._finding(moment, place, action, score, alert_id))
        standing.highest[s] = max(int(standing.highest[s]), action)
        if action < THROTTLE or not (over or action > standing.held[s]):
            return
        revision = int(standing.revision[s]) + 1
        standing.revision[s] = revision
        standing.held[s] = action
        standing.held_until_ms[s] = time_ms + lasts_ms(action, self._terms)
        outputs.orders.append(
            Order(
                emitted=moment.emitted,
                sequence=int(moment.batch.sequence[moment.event]),
                decision_id=self._id(s, "decision", revision),
                revision=revision,
                supersedes=self._id(s, "decision", revision - 1) if revision > 1 else None,
                client=client,
                model=self._cohort.model,
                action=action,
                issued_ms=time_ms,
                expires_ms=int(standing.held_until_ms[s]),
                evidence=self._name(place),
                text=self._headline(place, score, moment.queries),
                risk=self._risk(place, score),
                alert_id=alert_id,
            )
        )

    def _id(self, slot: int, *parts: object) -> str:
        # The first event time tells two lives of a client apart: one forgotten for lack of evidence may come back.
        first = int(self._cohort.columns.admission.first_ms[slot])
        name = "\x1f".join(map(str, (self._cohort.model, self._cohort.name(slot), first, *parts)))
        return str(uuid5(NAMESPACE, name))

    def _name(self, place: int) -> str:
        return "novelty" if place == NOVELTY else CHANNELS[place]

    def _headline(self, place: int, score: float, queries: int) -> str:
        if place == NOVELTY:
            return (
                f"unlike every known benign client: novelty {score:.2f}, alert at {self.bars.alert:.2f}, "
                f"after {queries} queries"
            )
        name = CHANNELS[place]
        treated = "stop" if MAY_STOP[place] else "throttle"
        return f"{WORDS[name]}: evidence {score:.1f}, {treated} at {self.bars.stop[place]:.1f}, after {queries} queries"

    def _risk(self, place: int, score: float) -> float:
        """Map a score to 0-100: novelty up to 60, construction from 42 at its first alert to 100."""
        if place == NOVELTY:
            return round(min(60.0, 30.0 * score / self.bars.alert), 1)
        if not MAY_STOP[place]:
            return round(min(60.0, 50.0 * score / self.bars.stop[place]), 1)
        return round(min(100.0, 70.0 * score / self.bars.stop[place]), 1)

    def _finding(self, moment: Moment, place: int, action: int, score: float, alert_id: str) -> Finding:
        batch = moment.batch
        i = moment.event
        kind = kind_of(place)
        known = moment.queries >= 8  # before its first look a client has no features
        return Finding(
            emitted=moment.emitted,
            sequence=int(batch.sequence[i]),
            alert_id=alert_id,
            time_ms=int(batch.time[i]),
            first_ms=int(self._cohort.columns.admission.first_ms[moment.slot]),
            client=self._cohort.name(moment.slot),
            model=self._cohort.model,
            version=batch.version[i],
            sender=batch.sender[i],
            queries=moment.queries,
            look=looks_by(moment.queries),
            kind=kind,
            evidence=self._name(place),
            action=action,
            score=_tidy(score),
            risk=self._risk(place, score),
            reasons=tuple(self._reasons(moment, place, score)),
            features={
                name: _tidy(float(value))
                for name, value in zip(NAMES, moment.row, strict=True)
                if known and math.isfinite(value)
            },
        )

    def _reasons(self, moment: Moment, place: int, score: float) -> list[Reason]:
        """Return the figures behind a finding: the evidence itself, then the features that stand out most."""
        slot = moment.slot
        if place != NOVELTY:
            name = CHANNELS[place]
            stop = self.bars.stop[place]
            return [
                Reason(
                    kind_of(place),
                    name,
                    _tidy(score),
                    1.0,
                    self._headline(place, score, moment.queries),
                    threshold=_tidy(stop),
                    event_ids=self._cohort.examples(slot, place),
                )
            ]
        reasons = [
            Reason(
                "novelty",
                "novelty",
                _tidy(score),
                1.0,
                self._headline(place, score, moment.queries),
                threshold=_tidy(self.bars.alert),
                event_ids=(moment.batch.event_id[moment.event],),
            )
        ]
        deviations = self._novelty.deviations(moment.row, moment.queries)[:SHOWN_FEATURES]
        total = sum(abs(away) for *_, away in deviations) or 1.0
        for name, value, (low, median, high), away in deviations:
            side = "above" if value > high else "below" if value < low else "within"
            reasons.append(
                Reason(
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


def kind_of(place: int) -> Kind:
    """Return the kind of evidence at a place: a channel, or novelty behind them."""
    return "construction" if place < NOVELTY and MAY_STOP[place] else "novelty"


def _tidy(value: float) -> float:
    """Return the value to six digits, so that documents do not change with the last bit of a sum."""
    return float(f"{value:.6g}")
