"""Passes: the calls of all kernels over a batch, bound to their arrays once.

The families are memory (with the channels of construction), rate, coverage, outputs, co-occurrence, and finally accumulation,
which adds up the evidence of the others. All of them skip queries that are not fresh.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.constants import Constants
from detector.engine.evidence.accumulate import accumulate
from detector.engine.evidence.cooccur import update_together
from detector.engine.evidence.drawn import record_views
from detector.engine.evidence.look import look_ratios
from detector.engine.evidence.noise import noise_ratios, views_of
from detector.engine.evidence.registry import COOCCUR
from detector.engine.features.coverage import LABELS, place_labels, update_coverage
from detector.engine.features.outputs import update_outputs
from detector.engine.features.rate import update_rate
from detector.engine.features.row import COVERAGE, OUTPUTS, RATE
from detector.engine.guard import DAY_MS
from detector.engine.kernels import entry
from detector.engine.memory.admission import Admission
from detector.engine.memory.checksums import add_up, weights_of
from detector.engine.memory.conduct import nobody, update_conduct
from detector.engine.memory.hashing import hash_contents
from detector.engine.memory.intake import begin, schedule, summarise
from detector.engine.memory.kept import Kept
from detector.engine.memory.observe import observe
from detector.engine.models.encoding import encode_rows
from detector.engine.models.reference import Reference, reduce_rows
from detector.engine.slots import Slots
from detector.engine.state import Columns
from detector.engine.workspace import Workspace, arrays_for, workspace_of

SMALL = 64  # events; a pass over more of them pays for new arrays


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


class Passes:
    """Makes the passes over batches of one model; those over few events are kept until the columns grow.

    `keys` are those of the hash of contents (see `memory.hashing`). Where it is not `metered`, no reading of the odometer is
    ever due.
    """

    def __init__(
        self,
        reference: Reference,
        columns: Columns,
        slots: Slots,
        constants: Constants,
        keys: npt.NDArray[np.uint64],
        *,
        metered: bool,
    ) -> None:
        self._reference = reference
        self._columns = columns
        self._slots = slots
        self._constants = constants
        self._keys = keys
        self._metered = metered
        self._arrays = arrays_for(SMALL, reference)
        self._known: dict[int, Pass] = {}
        self._entries: dict[Any, Callable[..., Any]] = {}
        self.population = nobody()
        """The figures (4,) that `conduct` compares clients with."""

    def over(self, events: int) -> Pass:
        """Return the calls of a pass over so many events; those over few are kept until the columns grow."""
        known = self._known.get(events)
        if known is not None and known.columns is self._columns.admission:
            return known
        arrays = self._arrays if events <= SMALL else arrays_for(events, self._reference)
        made = self._bound(workspace_of(arrays, events, self._slots.seed))
        if events <= SMALL:
            self._known[events] = made
        return made

    def entry(self, kernel: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
        """Return the compiled code of a kernel, which gets arrays of the same types at each call."""
        found = self._entries.get(kernel)
        if found is None:
            found = self._entries[kernel] = entry(kernel, arguments)
        return found

    def _bind(self, kernel: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        return partial(self.entry(kernel, arguments), *arguments)

    def _bound(self, room: Workspace) -> Pass:
        """Return the calls of a pass, bound to these arrays and the columns as they are now."""
        reference, columns, given = self._reference, self._columns, room.given
        queries, written, admitted = room.queries, room.written, room.admitted
        reduced, verdict, evaluation = room.reduced, admitted.verdict, queries.evaluation
        constants = self._constants
        scales, population, coarse, scratch = constants.scales, constants.population, constants.coarse, constants.scratch
        kept, bind = constants.kept, self._bind
        memory = (columns.memory, columns.selection, columns.checksums, columns.family, columns.metered)
        observed = (*memory, queries, scales, population, coarse, scratch, written)
        started = self.entry(observe, (*observed, kept))
        return Pass(
            columns=columns.admission,
            room=room,
            hash=bind(hash_contents, room.words, self._keys, given.label, room.sure, room.next_sure, room.content),
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
                update_conduct, columns.conduct, self.population, room.slot, admitted, given.refused, room.conduct
            ),
            schedule=bind(schedule, admitted, self._metered, evaluation, queries.reading, written.rows),
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
