"""Compute: runs the compiled kernels over a batch, one family after the other, each in stream order.

The families are memory (with the channels of construction), rate, coverage, outputs, co-occurrence, and finally accumulation,
which adds up the evidence of the others. All of them skip queries that are not fresh.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import accumulate
from detector.engine.evidence.coarse import Coarse
from detector.engine.evidence.cooccur import update_together
from detector.engine.evidence.drawn import Drawn, record_views
from detector.engine.evidence.frame import neighbours_of
from detector.engine.evidence.look import Look, look_ratios
from detector.engine.evidence.noise import Sights, noise_ratios, sights_from, views_of
from detector.engine.evidence.registry import COOCCUR
from detector.engine.features.coverage import LABELS, place_labels, update_coverage
from detector.engine.features.normality import shapiro_coefficients
from detector.engine.features.outputs import update_outputs
from detector.engine.features.rate import update_rate
from detector.engine.features.row import COVERAGE, NAMES, OUTPUTS, RATE
from detector.engine.guard import DAY_MS
from detector.engine.kernels import entry
from detector.engine.memory.admission import Admission, Admitted, admit
from detector.engine.memory.checksums import add_up, weights_of
from detector.engine.memory.conduct import nobody, update_conduct
from detector.engine.memory.hashing import Contents, digest, hash_contents, joined
from detector.engine.memory.intake import Given, Summary, begin, schedule, summarise
from detector.engine.memory.kept import Kept, room_for
from detector.engine.memory.ledger import Ledger
from detector.engine.memory.metered import versions_of
from detector.engine.memory.observe import Scratch, observe, scratch_for
from detector.engine.memory.yardsticks import Population, Scales
from detector.engine.models.encoding import encode_rows
from detector.engine.models.reference import C_HIGHEST, C_LOWEST, C_UNIT, Reduced, Reference, reduce_rows
from detector.engine.slots import Slots
from detector.engine.state import Columns
from detector.engine.workspace import Workspace, arrays_for, workspace_of
from detector.ingest.batch import Batch

SMALL = 64  # events; a pass over more of them pays for new arrays
GIVEN = attrgetter(*Given._fields)
NO_EVENTS = np.zeros(0, np.intp)
NO_ROWS = np.zeros((0, len(NAMES)))


class Computed(NamedTuple):
    """The results of the kernels for a batch of n events, of which `evaluated` (evaluations,) are scheduled evaluations.

    `admitted` is the decision on each event, `content` (n,) the hash that identifies a repeat, and `conduct` (n, questions, 4)
    is filled by `update_conduct`. `ratio` (n, channels) are the likelihood ratios of each query, and `peak` (n, channels) the
    highest evidence of its client so far. `rows` (evaluations, features) are the features at the evaluations. `reduced` are the
    reduced inputs. At the events `read` (readings,) the odometer is read of what was `kept` there. `summary` counts, and tells
    what has to be looked at one by one.

    All but `evaluated`, `rows`, `read` and `kept` are arrays of the workspace, which the next batch overwrites.
    """

    admitted: Admitted
    content: npt.NDArray[np.uint64]
    conduct: npt.NDArray[np.float64]
    evaluated: npt.NDArray[np.intp]
    rows: npt.NDArray[np.float64]
    ratio: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    reduced: Reduced
    read: npt.NDArray[np.intp]
    kept: Kept
    summary: Summary


class Rules(NamedTuple):
    """What a table's kernels need besides the reference: its `ring`, the operator's `secret`, and the allowed lateness.

    Where it is not `metered`, nothing is kept for the odometer.
    """

    ring: int
    secret: int
    lateness_ms: int
    metered: bool = False


class Kernels:
    """Runs the kernels over batches of one model, whose clients have these `columns` and `slots`, and ids in the `ledger`."""

    def __init__(self, reference: Reference, columns: Columns, slots: Slots, ledger: Ledger, rules: Rules) -> None:
        self._reference = reference
        self._columns = columns
        self._slots = slots
        self._ledger = ledger
        self._rules = rules
        self._population = nobody()
        self._contents = Contents(rules.secret, reference.dimension)
        self._constants = Constants(
            scales_of(reference, rules.ring),
            population_of(reference, columns.memory.window.shape[1]),
            reference.coarse,
            scratch_for(columns.memory, reference.measured, reference.leading.shape[1]),
            sights_from(reference.sights, reference.sight_values) if len(reference.sight_values) else None,
            reference.drawn if len(reference.drawn_columns) else None,
            reference.look,
            room_for(columns.memory, 0),
        )
        self._arrays = arrays_for(SMALL, reference)
        self._passes: dict[int, Pass] = {}
        self._entries: dict[Any, Callable[..., Any]] = {}

    @property
    def population(self) -> npt.NDArray[np.float64]:
        """The figures (4,) that `conduct` compares clients with."""
        return self._population

    def contents(self, batch: Batch) -> npt.NDArray[np.uint64]:
        """Return the hash (n,) that identifies a repeat of each event: of input and answer, or of a refused record."""
        contents = self._contents.of(batch.vector, batch.label, batch.confidence, batch.runner_up)
        return np.where(batch.refused > 0, batch.digest, contents)

    def over(self, batch: Batch, slot: npt.NDArray[np.int64]) -> Computed:
        """Add the batch to the columns and return the results; `slot` (n,) are its clients."""
        run = self._pass(len(batch))
        room = run.room
        room.slot[:] = slot
        columns: tuple[npt.NDArray[Any], ...] = room.given
        for own, column in zip(columns, GIVEN(batch), strict=True):
            np.copyto(own, column)
        if self._rules.metered:
            room.queries.version[:] = versions_of(batch.version)
        run.hash()
        run.begin()
        self._admit(batch.event_id, room)
        run.note_conduct()
        evaluations, readings = run.schedule()
        run.encode()
        run.reduce()
        for more in run.more:
            more()
        run.place()
        kept = self._constants.kept
        if readings:
            kept = room_for(self._columns.memory, readings)
            run.observe_and_keep(kept)
        else:
            run.observe()
        for update in run.updates:
            update()
        evaluated = read = NO_EVENTS
        rows = NO_ROWS
        if evaluations:
            evaluated = np.flatnonzero(room.admitted.evaluation)
            # A row is kept in 32 bits, so it is also judged in 32 bits: a later event must read the same numbers.
            rows = room.written.rows[:evaluations].astype(np.float32).astype(np.float64)
            read = np.flatnonzero(room.queries.reading >= 0) if readings else read
        return Computed(
            room.admitted,
            room.content,
            room.conduct,
            evaluated,
            rows,
            room.written.ratio,
            room.peak,
            room.reduced,
            read,
            kept,
            Summary(*run.summarise()),
        )

    def _admit(self, ids: Sequence[str], room: Workspace) -> None:
        """Decide which events count, and note their ids."""
        ledger, admission = self._ledger, self._columns.admission
        ledger.reserve(len(ids), admission.horizon_ms, self._slots.kept)
        text = joined(ids, room.ends)
        self._entry(digest, (text, room.ends, room.owner, room.key))(text, room.ends, room.owner, room.key)
        arguments = (admission, ledger.entries, room.arrivals, self._rules.lateness_ms, room.admitted)
        ledger.entered(self._entry(admit, arguments)(*arguments))

    def _entry(self, kernel: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
        """Return the compiled code of a kernel, which gets arrays of the same types at each call."""
        found = self._entries.get(kernel)
        if found is None:
            found = self._entries[kernel] = entry(kernel, arguments)
        return found

    def _bind(self, kernel: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        return partial(self._entry(kernel, arguments), *arguments)

    def _pass(self, events: int) -> "Pass":
        """Return the calls of a pass over so many events; those over few are kept until the columns grow."""
        known = self._passes.get(events)
        if known is not None and known.columns is self._columns.admission:
            return known
        arrays = self._arrays if events <= SMALL else arrays_for(events, self._reference)
        made = self._bound(workspace_of(arrays, events, self._slots.seed))
        if events <= SMALL:
            self._passes[events] = made
        return made

    def _bound(self, room: Workspace) -> "Pass":
        """Return the calls of a pass, bound to these arrays and the columns as they are now."""
        reference, columns, given = self._reference, self._columns, room.given
        queries, written, admitted = room.queries, room.written, room.admitted
        reduced, verdict, evaluation = room.reduced, admitted.verdict, queries.evaluation
        constants = self._constants
        scales, population, coarse, scratch = constants.scales, constants.population, constants.coarse, constants.scratch
        kept, bind = constants.kept, self._bind
        memory = (columns.memory, columns.selection, columns.checksums, columns.family, columns.metered)
        observed = (*memory, queries, scales, population, coarse, scratch, written)
        started = self._entry(observe, (*observed, kept))
        return Pass(
            columns=columns.admission,
            room=room,
            hash=bind(hash_contents, room.words, self._contents.keys, given.label, room.sure, room.next_sure, room.content),
            begin=bind(
                begin,
                given,
                room.slot,
                queries.seed,
                room.owner,
                room.content,
                queries.told,
                queries.place,
                admitted,
                room.conduct,
                written.ratio,
            ),
            note_conduct=bind(
                update_conduct, columns.conduct, self._population, room.slot, admitted, given.refused, room.conduct
            ),
            schedule=bind(schedule, admitted, self._rules.metered, evaluation, queries.reading, written.rows),
            encode=bind(
                encode_rows,
                given.vector,
                reference.offset,
                reference.scale,
                reference.categorical,
                reference.categories,
                room.encoded,
            ),
            reduce=bind(reduce_rows, *reference.reduction(room.encoded, reduced)),
            more=self._more(room),
            place=bind(place_labels, columns.coverage, room.slot, given.label, verdict, queries.place),
            observe=partial(started, *observed, kept),
            observe_and_keep=partial(started, *observed),
            updates=self._updates(room),
            summarise=bind(
                summarise,
                given.time,
                room.slot,
                admitted,
                room.conduct,
                written.ratio,
                room.peak,
                columns.standing.day,
                DAY_MS,
            ),
        )

    def _more(self, room: Workspace) -> Sequence[Callable[[], object]]:
        """Return the calls for what only some kinds of input have: checksums, and the likelihood ratio of foreign data.

        That is of noise on a sphere, of drawn records, or of pictures of another kind. Where it is not told, it stays 0.
        """
        reference, reduced, noise = self._reference, room.reduced, room.queries.noise
        sights, drawn = self._constants.sights, self._constants.drawn
        more: list[Callable[[], object]] = []
        if reference.summed:
            more.append(self._bind(add_up, room.encoded, weights_of(reference.dimension)[0], reduced.sums))
        if sights is not None:
            more.append(self._bind(views_of, room.given.vector, sights, room.views))
        elif drawn is not None:
            more.append(self._bind(record_views, room.given.vector, reduced.landmark, drawn, room.views))
        if sights is not None or drawn is not None:
            more.append(self._bind(noise_ratios, room.views, reference.noise, noise))
        elif (look := self._constants.look) is not None:
            more.append(self._bind(look_ratios, room.given.vector, look, noise))
        return more

    def _updates(self, room: Workspace) -> Sequence[Callable[[], object]]:
        """Return the calls for the families of features other than those of the memory, and for the evidence of all."""
        reference, columns, given, reduced = self._reference, self._columns, room.given, room.reduced
        queries, written, verdict = room.queries, room.written, room.admitted.verdict
        evaluation, rows, repeat = queries.evaluation, written.rows, written.repeat
        bind = self._bind
        rate = bind(
            update_rate,
            columns.rate,
            room.slot,
            given.time,
            given.weight,
            verdict,
            room.admitted.position,
            columns.admission.first_ms,
            evaluation,
            rows,
            RATE,
        )
        coverage = bind(
            update_coverage,
            columns.coverage,
            room.slot,
            given.label,
            queries.place,
            reduced.cell,
            reduced.off,
            reduced.landmark,
            verdict,
            repeat,
            reference.known_cells,
            reference.known_count,
            min(reference.labels, LABELS),
            evaluation,
            rows,
            COVERAGE,
        )
        outputs = bind(
            update_outputs,
            columns.outputs,
            room.slot,
            given.confidence,
            given.runner_up,
            written.near,
            written.flip,
            verdict,
            repeat,
            evaluation,
            rows,
            OUTPUTS,
        )
        added = bind(accumulate, columns.evidence, room.slot, written.ratio, verdict, repeat, room.peak)
        return rate, coverage, outputs, *self._compare_columns(room), added

    def _compare_columns(self, room: Workspace) -> Sequence[Callable[[], object]]:
        """Channel `cooccur`."""
        together = self._reference.cooccurrence
        if together.silent:
            return ()
        return (
            self._bind(
                update_together,
                self._columns.together,
                room.slot,
                room.given.vector,
                room.admitted.verdict,
                room.written.repeat,
                room.written.crowded,
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
                room.written.ratio[:, COOCCUR],
            ),
        )


class Constants(NamedTuple):
    """What the kernels are given at every call: yardsticks, scratch arrays, and room for no reading of the odometer."""

    scales: Scales
    population: Population
    coarse: Coarse
    scratch: Scratch
    sights: Sights | None
    drawn: Drawn | None
    look: Look | None
    kept: Kept


class Pass(NamedTuple):
    """The calls of a pass over the events in a `room`, in their order; `columns` is what they are bound to.

    `observe_and_keep` takes the place of `observe` where the odometer is read: it is given the room for what is kept.
    """

    columns: Admission
    room: Workspace
    hash: Callable[[], None]
    begin: Callable[[], None]
    note_conduct: Callable[[], None]
    schedule: Callable[[], tuple[int, int]]
    encode: Callable[[], None]
    reduce: Callable[[], None]
    more: Sequence[Callable[[], object]]
    place: Callable[[], None]
    observe: Callable[[], None]
    observe_and_keep: Callable[[Kept], None]
    updates: Sequence[Callable[[], object]]
    summarise: Callable[[], tuple[int, int, int, bool, bool, bool]]


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
        blocks=reference.blocks,
    )


def coefficients_up_to(window: int) -> npt.NDArray[np.float64]:
    """Return the Shapiro-Wilk coefficients (window + 1, window // 2): one row for each size of a sample up to `window`."""
    coefficients = np.zeros((window + 1, window // 2))
    for n in range(3, window + 1):
        coefficients[n, : n // 2] = shapiro_coefficients(n)
    return coefficients
