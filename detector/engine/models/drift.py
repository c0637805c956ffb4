"""Drift: whether the clients that come now are still like those that the baseline was calibrated on.

Thresholds keep a budget of false alarms only for clients like the calibration clients. Suppose that newcomers rank among the m
calibration clients by chance alone. Then every place in that ranking is equally likely for the first newcomer (conformal
prediction; Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005). The next places follow a Pólya urn
(Blackwell and MacQueen, 1973), which starts with one ball in each of the m + 1 places. So the probability of all places so far
is known exactly, whatever the distribution of the features. A second urn starts with `OWN` balls in the same proportions and
soon follows the newcomers alone. The evidence of drift is how much better the second urn predicts the places. As long as
nothing has changed, this ratio is a martingale: a test of exchangeability that may be read at any time (Vovk, 2003, Testing
exchangeability on-line). It exceeds k in at most 1 of k cases (Ville, 1939). Few calibration clients give little evidence,
however long the stream is.

A client is compared when its count of queries reaches a *rung* (8, 16, 32, 64, then the first scheduled evaluation at or above
each power of two). It is compared with the calibration clients at the same rung, feature by feature; places are counted in
`BINS` groups. The evidence is the mean over rungs and features, which is as valid as each of them, however much they depend on
each other. Ties are broken by a hash of the client. Of each rung the last 512 to 1,024 clients count. So older clients do not
dilute a later change, and clients from before an acceptance are forgotten. The guarantee holds for each such stretch.

Blind to: timing, clients that have had more queries than 8 calibration clients ever had, and drift of the same clients
between two rungs. It cannot tell new customers from many new thieves that no channel of construction has seen: check the
alerts before accepting any client.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

from detector.engine.evidence.accumulate import MAY_STOP, WORTH_NOTING
from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.novelty import LEAST_CLIENTS, LESSONS, Evaluations
from detector.engine.models.profiles import STAGES
from detector.engine.observer import Observer, Seen
from detector.errors import SnapshotError

RUNGS = np.array([STAGES[0], *sorted(LESSONS)[:11]])  # from 8 to the first evaluation at or above 16,384 queries
_RUNG_AT = {queries: rung for rung, queries in enumerate(RUNGS.tolist())}
MOST_COMPARED = 512  # most calibration clients per rung
BINS = 10
STRETCH = 512  # clients of a rung, after which those of the previous stretch are forgotten
OWN = 2.0
ALARM = 3.0  # evidence, as a decimal logarithm, that chance alone reaches in at most 1 of 1,000 stretches
SHOWN = 5
_FEATURES = NAMES[CONTENT]
TIE_SEED = 1_939


@dataclass(frozen=True, slots=True)
class Shift:
    """How one feature of newcomers differs from the calibration clients' at the rung of `queries`.

    `distance` is the largest difference between the two distributions, 0 to 1 (Kolmogorov and Smirnov, on `BINS` groups); with
    n clients chance alone seldom keeps it below 1 / sqrt(n). `to` says whether values are higher, lower or spread differently.
    `evidence` is a decimal logarithm.
    """

    feature: str
    to: str
    distance: float
    evidence: float
    queries: int
    clients: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How well newcomers fit the calibration: `evidence` against it (decimal logarithm), and the features with most evidence.

    `clients` is how many were compared at the rung with most of them. `distance` is that of the feature with most evidence.
    """

    evidence: float
    distance: float
    clients: int
    features: tuple[Shift, ...]

    @property
    def fits(self) -> bool:
        """Whether there is no reason to doubt the calibration."""
        return self.evidence < ALARM

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for summaries."""
        return {"fits": self.fits, **asdict(self), "features": [asdict(shift) for shift in self.features]}

    def tell(self) -> str:
        """Return one sentence for people."""
        if self.clients == 0:
            return "no client to compare with the calibration yet"
        if self.fits:
            return f"the calibration fits: evidence {self.evidence:.1f} of drift, {ALARM:.0f} would be telling"
        moved = ", ".join(f"{shift.feature} {shift.to}" for shift in self.features[:3])
        return (
            f"the calibration no longer fits: evidence {self.evidence:.1f} of drift, {ALARM:.0f} is telling; at "
            f"{self.features[0].queries} queries {moved}"
        )


class DriftMonitor:
    """Counts where clients rank among the calibration clients; it is bounded, and the same however a stream is cut.

    `evaluations` are those of the calibration clients, from `fitting.drift.compared`. `then`, where given, observes as well.
    """

    def __init__(self, evaluations: Evaluations, then: Observer | None = None) -> None:
        self._then = then
        digest = hashlib.sha256()
        self._rungs: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None] = []
        self.places = np.zeros((len(RUNGS), BINS))  # number of places of the ranking in each group
        for r, rung in enumerate(RUNGS):
            rows = _comparable(evaluations.rows[evaluations.queries == rung])
            known = len(rows) >= LEAST_CLIENTS
            self._rungs.append((rows, np.random.default_rng((TIE_SEED, r)).random(len(rows))) if known else None)
            if known:
                self.places[r] = np.bincount(_group(np.arange(len(rows) + 1), len(rows)), minlength=BINS)
                digest.update(rows.tobytes())
        self.key = digest.hexdigest()[:16]
        self.counts = np.zeros((2, len(RUNGS), len(_FEATURES), BINS), np.uint16)  # the previous stretch and this one

    def observed(self, seen: Seen) -> None:
        """Count the evaluations of a pass; clients with evidence of construction are left out."""
        if self._then is not None:
            self._then.observed(seen)
        if len(seen.look_event) == 0:
            return
        for i, event in enumerate(seen.look_event.tolist()):
            rung = _RUNG_AT.get(int(seen.queries[event]))
            if rung is not None and not (seen.peak[event] >= WORTH_NOTING)[MAY_STOP].any():
                self.note(rung, seen.rows[i], seen.batch.client[event])

    def note(self, rung: int, row: npt.NDArray[np.float64], client: str) -> None:
        """Count a client (features,) that has reached a rung."""
        known = self._rungs[rung]
        if known is None:
            return
        rows, ties = known
        tie = int.from_bytes(hashlib.blake2b(client.encode(), digest_size=8).digest(), "little") / 2.0**64
        own = _comparable(row[None])
        place = ((rows < own) | ((rows == own) & (ties < tie)[:, None])).sum(axis=0)
        if self.counts[1, rung, 0].sum() >= STRETCH:
            self.counts[0, rung] = self.counts[1, rung]
            self.counts[1, rung] = 0
        self.counts[1, rung, np.arange(len(_FEATURES)), _group(place, len(rows))] += 1

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was counted, as arrays."""
        return {"counts": self.counts}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `state` returned, under the same calibration.

        Raises `SnapshotError` when it has another form.
        """
        if state["counts"].shape != self.counts.shape or state["counts"].dtype != self.counts.dtype:
            raise SnapshotError("the saved state of the drift monitor has another form")
        self.counts[:] = state["counts"]


def assess(monitors: Iterable[DriftMonitor]) -> Drift:
    """Return the drift that monitors of one model's calibration have counted together; at least one is needed.

    It takes about a millisecond, so it is for reports, not for every query.
    """
    some = list(monitors)
    places = some[0].places
    counts = np.sum([monitor.counts.sum(axis=0, dtype=np.int64) for monitor in some], axis=0)
    known = places.any(axis=1)
    if not known.any():
        return Drift(0.0, 0.0, 0, ())
    evidence = np.full(counts.shape[:2], -np.inf)
    total = places.sum(axis=1)
    for r in np.flatnonzero(known).tolist():
        own = OWN * places[r] / total[r]
        evidence[r] = (_log_urn(counts[r], own) - _log_urn(counts[r], places[r])) / np.log(10.0)
    joint = float(logsumexp(evidence[known] * np.log(10.0)) / np.log(10.0) - np.log10(evidence[known].size))
    shifts = []
    for j, name in enumerate(_FEATURES):
        r = int(np.argmax(evidence[:, j]))
        clients = int(counts[r, j].sum())
        if clients == 0:
            continue
        apart = np.cumsum(places[r] / total[r] - counts[r, j] / clients)
        above, below = float(apart.max()), -float(apart.min())
        to = "higher" if above >= 3 * below else "lower" if below >= 3 * above else "spread differently"
        shifts.append(
            Shift(
                feature=name,
                to=to,
                distance=round(float(np.abs(apart).max()), 4),
                evidence=round(float(evidence[r, j]), 3),
                queries=int(RUNGS[r]),
                clients=clients,
            )
        )
    shifts.sort(key=lambda shift: -shift.evidence)
    return Drift(
        evidence=round(joint, 3) + 0.0,
        distance=shifts[0].distance if shifts else 0.0,
        clients=int(counts[:, 0].sum(axis=1).max()),
        features=tuple(shifts[:SHOWN]),
    )


def _comparable(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the content features (n, f); a missing value ranks below all others."""
    return np.nan_to_num(rows[:, CONTENT], nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _group(place: npt.NDArray[np.integer], clients: int) -> npt.NDArray[np.integer]:
    """Return the group of each place in the ranking; places go from 0 to the number of calibration clients."""
    groups: npt.NDArray[np.integer] = place * BINS // (clients + 1)
    return groups


def _log_urn(counts: npt.NDArray[np.int64], balls: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the log probability (f,) of draws with `counts` (f, groups) in a given order from an urn of `balls` (groups,)."""
    usable = balls > 0
    n, a = counts[:, usable], balls[usable]
    drawn: npt.NDArray[np.float64] = (
        gammaln(a.sum()) - gammaln(a.sum() + n.sum(axis=1)) + (gammaln(a + n) - gammaln(a)).sum(axis=1)
    )
    return drawn
