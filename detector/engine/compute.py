"""Compute: runs the compiled kernels over a batch, one family after the other, each in stream order.

The families are memory (with the channels of construction), rate, coverage, outputs, co-occurrence, and finally accumulation,
which adds up the evidence of the others. All of them skip queries that are not fresh.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import CHANNELS, accumulate
from detector.engine.evidence.cooccur import update_together
from detector.engine.evidence.drawn import record_views
from detector.engine.evidence.frame import neighbours_of
from detector.engine.evidence.noise import VIEWS, noise_ratios, sights_from, views_of
from detector.engine.evidence.registry import COOCCUR
from detector.engine.features.coverage import LABELS, place_labels, update_coverage
from detector.engine.features.normality import shapiro_coefficients
from detector.engine.features.outputs import update_outputs
from detector.engine.features.rate import update_rate
from detector.engine.features.row import COVERAGE, MEMORY, NAMES, OUTPUTS, RATE
from detector.engine.memory.admission import Admitted
from detector.engine.memory.checksums import weights_of
from detector.engine.memory.kept import Kept, room_for
from detector.engine.memory.metered import is_reading, versions_of
from detector.engine.memory.observe import Queries, Written, observe, scratch_for
from detector.engine.memory.yardsticks import Population, Scales
from detector.engine.models.reference import C_HIGHEST, C_LOWEST, C_UNIT, Reduced, Reference
from detector.engine.state import Columns
from detector.ingest.batch import Batch


class Computed(NamedTuple):
    """The results of the kernels for a batch of n events, of which `evaluated` (evaluations,) are scheduled evaluations.

    `ratio` (n, channels) are the likelihood ratios of each query, and `peak` (n, channels) the highest evidence of its client
    so far. `rows` (evaluations, features) are the features at the evaluations. `reduced` are the reduced inputs. At the events
    `read` (readings,) the odometer is read of what was `kept` there.
    """

    evaluated: npt.NDArray[np.intp]
    rows: npt.NDArray[np.float64]
    ratio: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    reduced: Reduced
    read: npt.NDArray[np.intp]
    kept: Kept

    @property
    def z(self) -> npt.NDArray[np.int16]:
        """The projected inputs (n, coordinates)."""
        return self.reduced.z


class Kernels:
    """Runs the kernels over batches of one model; where it is not `metered`, nothing is kept for the odometer."""

    def __init__(self, reference: Reference, columns: Columns, ring: int, *, metered: bool = False) -> None:
        self._metered = metered
        self._reference = reference
        self._scales = scales_of(reference, ring)
        self._population = population_of(reference, columns.memory.window.shape[1])
        self._scratch = scratch_for(columns.memory, reference.measured, reference.leading.shape[1])
        self._sights = sights_from(reference.sights, reference.sight_values) if len(reference.sight_values) else None
        self._drawn = reference.drawn if len(reference.drawn_columns) else None

    def over(
        self,
        columns: Columns,
        batch: Batch,
        slot: npt.NDArray[np.int64],
        seed: npt.NDArray[np.uint64],
        admitted: Admitted,
    ) -> Computed:
        """Add the batch to `columns` and return the results; `slot` (n,) are its clients, `seed` their random numbers."""
        n = len(batch)
        evaluated = np.flatnonzero(admitted.evaluation)
        evaluation = np.full(n, -1, np.int64)
        evaluation[evaluated] = np.arange(len(evaluated))
        rows = np.full((len(evaluated), len(NAMES)), np.nan)
        ratio = np.ones((n, len(CHANNELS)), np.float32)
        peak = np.zeros((n, len(CHANNELS)), np.float32)
        read = np.flatnonzero(admitted.evaluation & is_reading(admitted.position)) if self._metered else evaluated[:0]
        reading = np.full(n, -1, np.int64)
        reading[read] = np.arange(len(read))
        kept = room_for(columns.memory, len(read))
        place = np.zeros(n, np.int64)
        repeat, near, flip = np.zeros((3, n), np.bool_)
        reduced = self._reference.reduce(batch.vector)

        place_labels(columns.coverage, slot, batch.label, admitted.verdict, place)
        queries = Queries(
            slot=slot,
            seed=seed,
            verdict=admitted.verdict,
            z=reduced.z,
            c=reduced.c,
            sums=reduced.sums,
            energy=reduced.energy,
            landmark=reduced.landmark,
            noise=self._noise(batch, reduced),
            label=batch.label,
            place=place,
            confidence=batch.confidence,
            runner_up=batch.runner_up,
            told=np.left_shift(batch.perturbed & 3, 2, dtype=np.uint8),  # the bits `LABEL_TOLD` and `MISLED` of a mark
            version=versions_of(batch.version) if self._metered else np.zeros(n, np.uint16),
            evaluation=evaluation,
            reading=reading,
        )
        written = Written(repeat, near, flip, np.empty(n, np.float32), ratio, rows, MEMORY, np.zeros(n, np.bool_))
        observe(
            columns.memory,
            columns.selection,
            columns.checksums,
            columns.family,
            columns.metered,
            queries,
            self._scales,
            self._population,
            self._scratch,
            written,
            kept,
        )
        self._describe(columns, batch, queries, written, reduced, admitted.position)
        self._compare_columns(columns, batch, queries, written)
        accumulate(columns.evidence, slot, ratio, admitted.verdict, repeat, peak)
        # A row is kept in 32 bits, so it is also judged in 32 bits: a later event must read the same numbers.
        return Computed(evaluated, rows.astype(np.float32).astype(np.float64), ratio, peak, reduced, read, kept)

    def _noise(self, batch: Batch, reduced: Reduced) -> npt.NDArray[np.float32]:
        """Return how much likelier each query is if it is noise, or a record that was drawn; 0 where that is not told."""
        ratio = np.zeros(len(batch), np.float32)
        views = np.empty((len(batch), VIEWS))
        if self._sights is not None:
            views_of(batch.vector, self._sights, views)
            noise_ratios(views, self._reference.noise, ratio)
        elif self._drawn is not None:
            record_views(batch.vector, reduced.landmark, self._drawn, views)
            noise_ratios(views, self._reference.noise, ratio)
        return ratio

    def _describe(
        self,
        columns: Columns,
        batch: Batch,
        queries: Queries,
        written: Written,
        reduced: Reduced,
        position: npt.NDArray[np.int64],
    ) -> None:
        """Update the families of features other than those of the memory."""
        reference = self._reference
        update_rate(
            columns.rate,
            queries.slot,
            batch.time,
            batch.weight,
            queries.verdict,
            position,
            columns.admission.first_ms,
            queries.evaluation,
            written.rows,
            RATE,
        )
        update_coverage(
            columns.coverage,
            queries.slot,
            batch.label,
            queries.place,
            reduced.cell,
            reduced.off,
            reduced.landmark,
            queries.verdict,
            written.repeat,
            reference.known_cells,
            reference.known_count,
            min(reference.labels, LABELS),
            queries.evaluation,
            written.rows,
            COVERAGE,
        )
        update_outputs(
            columns.outputs,
            queries.slot,
            batch.confidence,
            batch.runner_up,
            written.near,
            written.flip,
            queries.verdict,
            written.repeat,
            queries.evaluation,
            written.rows,
            OUTPUTS,
        )

    def _compare_columns(self, columns: Columns, batch: Batch, queries: Queries, written: Written) -> None:
        """Channel `cooccur`."""
        together = self._reference.cooccurrence
        if together.silent:
            return
        update_together(
            columns.together,
            queries.slot,
            batch.vector,
            queries.verdict,
            written.repeat,
            written.crowded,
            together.columns,
            together.coded,
            together.edges,
            together.share,
            together.pairs,
            together.table,
            together.worth,
            together.edited,
            together.mixes,
            together.usual,
            written.ratio[:, COOCCUR],
        )


def scales_of(reference: Reference, ring: int) -> Scales:
    """Return the numbers among a reference's yardsticks, for a memory with a ring of this length.

    Their types are fixed here, because a kernel is compiled again for every new combination of types.
    """
    return Scales(
        unit=float(reference.unit),
        quantum=float(reference.quantum),
        c_unit=C_UNIT,
        c_lowest=C_LOWEST,
        c_highest=C_HIGHEST,
        c_zero=reference.zero,
        measured=int(reference.measured),
        principal=int(reference.principal),
        dimension=int(reference.dimension),
        grain=float(reference.grain),
        tolerance=float(reference.tolerance),
        blur=reference.blur_sharpened,
        rounding=float(reference.rounding),
        moved=reference.moved,
        table=bool(reference.table),
        numbers=int(reference.numbers),
        usual=float(reference.usual_structure),
        spread=float(reference.structure_spread),
        usual_stray=float(reference.usual_stray),
        stray_spread=float(reference.stray_spread),
        neighbour=float(reference.neighbour),
        ring=ring,
    )


def population_of(reference: Reference, window: int) -> Population:
    """Return the arrays among a reference's yardsticks, for windows of so many distances."""
    _, keys = weights_of(reference.dimension if reference.summed else 0)
    return Population(
        variance=reference.variance,
        c_variance=reference.c_variance,
        sharpness=reference.sharpness,
        origin=reference.origin,
        plain=reference.plain,
        level=reference.level,
        kinship=reference.kinship,
        middle=reference.middle,
        leading=reference.leading,
        remote=reference.remote,
        keys=keys,
        coefficients=coefficients_up_to(window),
        turning=reference.turning,
        neighbours=neighbours_of(reference.sampled, 0 if reference.table or reference.sphere > 0.0 else reference.dimension),
    )


def coefficients_up_to(window: int) -> npt.NDArray[np.float64]:
    """Return the Shapiro-Wilk coefficients (window + 1, window // 2): one row for each size of a sample up to `window`."""
    coefficients = np.zeros((window + 1, window // 2))
    for n in range(3, window + 1):
        coefficients[n, : n // 2] = shapiro_coefficients(n)
    return coefficients
