"""Reasons: the words and figures for what a moment shows, with the thresholds that it is measured by."""

import math
from dataclasses import replace

from detector.engine.evidence.accumulate import MAY_STOP
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.findings import FindingReason
from detector.engine.models.novelty import Novelty
from detector.engine.moment import Judged, Moment, is_conduct, kind_of
from detector.engine.policy import COMPANY_SHARE, Budget, PolicySettings, Thresholds, companion_of
from detector.engine.state import HARM, NOVELTY, PLACES
from detector.ingest.batch import Batch

SHOWN_FEATURES = 4


class Reasons:
    """Tells why the judge finds something about a client of one model, under one policy and its thresholds."""

    def __init__(self, thresholds: Thresholds, policy: PolicySettings, novelty: Novelty, clients: Judged) -> None:
        self._thresholds = thresholds
        self._policy = policy
        self._novelty = novelty
        self._clients = clients

    def budget(self, batch: Batch, event: int, slot: int) -> Budget:
        """Return the budget of the client that asked, by its tier."""
        return self._policy.budget_of(self._clients.model, self._clients.account(slot).client, batch.sender[event])

    def headline(self, moment: Moment, place: int, score: float) -> str:
        """Return one line for people: what was found, its score, and from which score on something happens."""
        queries = moment.queries
        meaning = EVIDENCE[PLACES[place]].meaning
        if place == HARM:
            return self._budget_told(moment, score)
        if is_conduct(place):
            odd = moment.odd(place)
            return (
                f"{odd.hits:,} of {odd.records:,} {meaning}, at most {odd.usual:.1%} are usual: evidence {score:.1f}, "
                f"alert at {self._thresholds.conduct:.1f}"
            )
        if place == NOVELTY:
            return (
                f"unlike every known benign client: novelty {score:.2f}, alert at {self._thresholds.alert:.2f}, "
                f"after {queries} queries"
            )
        treated = "stop" if MAY_STOP[place] else "throttle"
        told = f"{meaning}: evidence {score:.1f}, {treated} at {self.threshold(moment, place):.1f}, after {queries} queries"
        beside = self.companion(moment, place)
        if beside is None:
            return told
        enough, company = self._thresholds.stop[place] * COMPANY_SHARE, EVIDENCE[PLACES[beside]].meaning
        return (
            f"{told}; {enough:.1f} is enough here, as {company}: evidence {moment.peak[beside]:.1f}, "
            f"threshold {self._thresholds.stop[beside]:.1f}"
        )

    def _budget_told(self, moment: Moment, lead: float) -> str:
        budget = self.budget(moment.batch, moment.event, moment.slot)
        limits = ((budget.degrade_at, "labels only"), (budget.stop_at, "blocked"))
        told = ", ".join(f"{what} from {limit:.2f}" for limit, what in limits if limit is not None)
        held = self._clients.reading(moment.slot)
        interval = "" if held is None else f" ({held.low:.2f} to {held.high:.2f}), read after {held.queries} queries"
        return f"{EVIDENCE[PLACES[HARM]].meaning}: lead {lead:.2f}{interval}; {told}"

    def companion(self, moment: Moment, place: int) -> int | None:
        """Return the channel without whose company the evidence at a place would not stop, None where there is none."""
        if place >= NOVELTY or moment.peak[place] >= self._thresholds.stop[place]:
            return None
        return companion_of(place, moment.peak, self._thresholds)

    def risk(self, place: int, score: float, queries: int) -> float:
        """Map a score to 0-100: novelty up to 60, construction from 42 at its first alert to 100."""
        if place == NOVELTY:
            return round(min(60.0, 30.0 * score / self._thresholds.alert), 1)
        if place == HARM:
            return round(100.0 * score, 1)
        if is_conduct(place):
            return round(min(60.0, 30.0 * score / self._thresholds.conduct), 1)
        if not MAY_STOP[place]:
            return round(min(60.0, 50.0 * score / self._thresholds.after(queries).stop[place]), 1)
        return round(min(100.0, 70.0 * score / self._thresholds.stop[place]), 1)

    def of(self, moment: Moment, place: int, score: float) -> list[FindingReason]:
        """Return the figures behind a finding: the evidence and its company, or novelty and the most unusual features."""
        if place == NOVELTY:
            return self._of_novelty(moment, score)
        beside = self.companion(moment, place)
        if beside is None:
            return [self._measured(moment, place, score, 1.0)]
        company = self._measured(moment, beside, float(moment.peak[beside]), 0.5)
        usual = tidy(self._thresholds.stop[beside])  # company counts by it in a client's first queries, too
        return [self._measured(moment, place, score, 0.5), replace(company, threshold=usual)]

    def _measured(self, moment: Moment, place: int, score: float, weight: float) -> FindingReason:
        return FindingReason(
            kind_of(place),
            PLACES[place],
            tidy(score),
            weight,
            self.headline(moment, place, score),
            threshold=tidy(self.threshold(moment, place)),
            event_ids=self._clients.examples(moment.slot, place),
        )

    def _of_novelty(self, moment: Moment, score: float) -> list[FindingReason]:
        reasons = [
            FindingReason(
                "novelty",
                "novelty",
                tidy(score),
                1.0,
                self.headline(moment, NOVELTY, score),
                threshold=tidy(self._thresholds.alert),
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
                    tidy(value),
                    tidy(abs(away) / total),
                    f"{name} {value:.3g} is {side} the benign range {low:.3g} to {high:.3g}",
                    low=tidy(low),
                    median=tidy(median),
                    high=tidy(high),
                )
            )
        return reasons

    def threshold(self, moment: Moment, place: int) -> float:
        """Return the score from which the evidence at a place stops or throttles; for conduct, alerts. Infinite for none."""
        if place == HARM:
            limit = self.budget(moment.batch, moment.event, moment.slot).limit
            return math.inf if limit is None else limit
        return self._thresholds.after(moment.queries).stop[place] if place < NOVELTY else self._thresholds.conduct


def tidy(value: float) -> float:
    """Return the value with six digits, so that documents do not depend on the last bit of a sum."""
    return float(f"{value:.6g}")
