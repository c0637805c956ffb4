"""Compute: runs the compiled kernels over a batch, one family after the other, each in stream order."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.constants import constants_of
from detector.engine.features.row import NAMES
from detector.engine.memory.admission import Admitted, admit
from detector.engine.memory.hashing import Contents, digest, joined
from detector.engine.memory.intake import Given, Summary
from detector.engine.memory.kept import Kept, room_for
from detector.engine.memory.ledger import Ledger
from detector.engine.memory.metered import versions_of
from detector.engine.models.reference import Reduced, Reference
from detector.engine.passes import Passes
from detector.engine.slots import Slots
from detector.engine.state import Columns
from detector.engine.workspace import Workspace
from detector.ingest.batch import Batch

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
        self._columns = columns
        self._slots = slots
        self._ledger = ledger
        self._rules = rules
        self._contents = Contents(rules.secret, reference.dimension)
        self._constants = constants_of(reference, columns.memory, rules.ring)
        keys = self._contents.keys
        self._passes = Passes(reference, columns, slots, self._constants, keys, metered=rules.metered)

    @property
    def population(self) -> npt.NDArray[np.float64]:
        """The figures (4,) that `conduct` compares clients with."""
        return self._passes.population

    def contents(self, batch: Batch) -> npt.NDArray[np.uint64]:
        """Return the hash (n,) that identifies a repeat of each event: of input and answer, or of a refused record."""
        contents = self._contents.of(batch.vector, batch.label, batch.confidence, batch.runner_up)
        return np.where(batch.refused > 0, batch.digest, contents)

    def over(self, batch: Batch, slot: npt.NDArray[np.int64]) -> Computed:
        """Add the batch to the columns and return the results; `slot` (n,) are its clients."""
        run = self._passes.over(len(batch))
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
        self._passes.entry(digest, (text, room.ends, room.owner, room.key))(text, room.ends, room.owner, room.key)
        arguments = (admission, ledger.entries, room.arrivals, self._rules.lateness_ms, room.admitted)
        ledger.entered(self._passes.entry(admit, arguments)(*arguments))
