"""The shard of one partition of the sketches topic: the linkers of its models, each fed in the order of the stream.

It is pure: what it finds depends on the records of its partition alone, and on their order there. A clock is asked nowhere; the
time that limits run in is that of the records.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from detector.engine.findings import Outputs
from detector.engine.links.sketch import Sketches
from detector.engine.policy import PolicySettings
from detector.engine.shard import SHARD_KEY
from detector.errors import SnapshotError
from detector.service.kafka.sketches import PlacedSketches, Progress
from detector.service.link.arrivals import AHEAD_MS, PATIENCE_MS, Arrivals
from detector.service.link.blocks import BLOCK_BYTES, Blocks
from detector.service.link.queue import Queue, Turn
from detector.service.telemetry.metrics import SketchOutcome

ARRIVALS = ("\0arrivals", SHARD_KEY)  # the key of the progress of partitions; no model is called so
LINKER = "linker"  # beside a model's own key, the one of its linker, which is large and changes less often
STATE_VERSION = 1

log = structlog.get_logger(__name__)


class ModelLinker(Protocol):
    """The search for links between the accounts of one model; see `engine.links`."""

    def process(self, sketches: Sketches) -> Outputs:
        """Take the next sketches, in stream order, and return what they show."""

    def snapshot(self) -> bytes:
        """Return the state."""

    def restore(self, saved: bytes) -> None:
        """Restore what `snapshot` returned into a linker that has processed nothing; raises `SnapshotError`."""

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under another policy."""

    def leads(self) -> dict[str, float]:
        """Return the highest lead of each organisation that is measured, by name."""


class Entry(NamedTuple):
    """What a record of the sketches topic holds, and its time in milliseconds since 1970."""

    moment: int
    content: PlacedSketches | Progress


@dataclass(slots=True)
class Linked:
    """What came of records: outputs, and how many sketches had which outcome."""

    outputs: Outputs = field(default_factory=Outputs)
    outcomes: Counter[SketchOutcome] = field(default_factory=Counter)


@dataclass(slots=True)
class _Model:
    """One model: its waiting sketches and its linker, and whether they changed since they were saved."""

    queue: Queue
    linker: ModelLinker
    blocks: Blocks = field(default_factory=lambda: Blocks(LINKER))
    queue_changed: bool = False
    linker_changed: bool = False


class LinkShard:
    """Searches the models whose sketches are in one partition; `references` names each model's reference.

    A partition of the queries topic is waited for until nothing was heard of it for `patience_ms`, see `arrivals`.
    """

    def __init__(
        self, references: Mapping[str, str], linker_of: Callable[[str], ModelLinker], patience_ms: int = PATIENCE_MS
    ) -> None:
        self._patience_ms = patience_ms
        self._references = references
        self._linker_of = linker_of
        self._arrivals = Arrivals(patience_ms)
        self._models: dict[str, _Model] = {}

    @property
    def held(self) -> int:
        """How many sketches wait for their turn."""
        return sum(len(model.queue) for model in self._models.values())

    @property
    def models(self) -> int:
        """How many models there are."""
        return len(self._models)

    @property
    def passed_over(self) -> list[int]:
        """The partitions of the queries topic that are not waited for."""
        return self._arrivals.passed_over

    def organizations(self, leads: Iterable[float]) -> dict[float, int]:
        """Return how many organisations hold at least each of these leads of a model, of all models."""
        held = [lead for model in self._models.values() for lead in model.linker.leads().values()]
        return {least: sum(lead >= least for lead in held) for least in leads}

    def process(self, entries: Iterable[Entry]) -> Linked:
        """Take the next records of the partition, in its order."""
        linked = Linked()
        for moment, content in entries:
            self._arrivals.tick(moment)
            if isinstance(content, Progress):
                self._arrivals.note(content)
            else:
                # Who writes a query chooses its time: one in the far future must not put all later sketches out of order.
                placed = content.written_by(self._arrivals.now + AHEAD_MS)
                self._arrivals.hear(placed.partition, int(placed.written[-1]))
                self._add(placed, linked)
            told = isinstance(content, Progress)  # once a second from each worker: a turn a record would take most of the time
            due, complete = self._arrivals.due(), self._arrivals.complete()
            for model in (model for model in self._models.values() if told or model.queue.full):
                pressing = model.queue.pressing(self._arrivals.longest_wait)
                self._feed(model, model.queue.turn(max(due, pressing), complete), linked)
        return linked

    def hurry(self) -> Linked:
        """Take all sketches that wait, though not all partitions have come as far."""
        linked = Linked()
        complete = self._arrivals.complete()
        for model in self._models.values():
            self._feed(model, model.queue.turn(model.queue.latest, complete), linked)
        return linked

    def _add(self, placed: PlacedSketches, linked: Linked) -> None:
        name = placed.sketches.model
        if self._references.get(name) != placed.reference:
            linked.outcomes["foreign"] += len(placed)
            return
        if name not in self._models:
            self._models[name] = _Model(Queue(), self._linker_of(name))
        model = self._models[name]
        linked.outcomes["repeated"] += model.queue.add(placed, self._arrivals.now)
        model.queue_changed = True

    def _feed(self, model: _Model, turn: Turn | None, linked: Linked) -> None:
        if turn is None:
            return
        model.queue_changed = model.linker_changed = True
        linked.outcomes["late"] += turn.late
        linked.outcomes["hurried"] += turn.hurried
        linked.outcomes["ordered"] += len(turn.sketches) - turn.late - turn.hurried
        linked.outputs.add(model.linker.process(turn.sketches))

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under another policy."""
        for model in self._models.values():
            model.linker.adopt(policy)

    def snapshot(self, *, changed_only: bool = False) -> dict[tuple[str, str], bytes]:
        """Return the state as (model, part) -> bytes; with `changed_only` only what changed since the last call."""
        until = {name: model.queue.until for name, model in self._models.items()}
        saved = {ARRIVALS: _pack({"until": until, **self._arrivals.state()})}
        for name, model in self._models.items():
            reference = self._references[name]
            if model.queue_changed or not changed_only:
                saved[name, SHARD_KEY] = _pack({"reference": reference, **model.queue.state()})
            if model.linker_changed or not changed_only:
                if not changed_only:
                    model.blocks.forget()
                value = model.linker.snapshot()
                head = {"reference": reference, "blocks": -(-len(value) // BLOCK_BYTES)}
                saved[name, LINKER] = _pack(head)
                saved |= {(name, part): block for part, block in model.blocks.changed(value).items()}
            model.queue_changed = model.linker_changed = False
        return saved

    def restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        """Restore what `snapshot` returned into a shard that has processed nothing.

        A model whose reference is another by now begins anew: its old sketches cannot be compared with new ones. So does one
        whose linker has other sizes, as after a change of ``[links] entries``. One that has no baseline any more is left out.

        Raises `SnapshotError` when a snapshot is damaged or of another version; this shard must then be discarded.
        """
        try:
            self._restore(saved)
        except SnapshotError:
            raise
        except Exception as error:  # damaged bytes may raise any error
            raise SnapshotError(f"the saved state of links is damaged: {error!r}") from error

    def _restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        until: dict[str, int] = {}
        if ARRIVALS in saved:
            arrivals = _unpack(saved[ARRIVALS])
            self._arrivals = Arrivals.restored(arrivals, self._patience_ms)
            until = msgspec.convert(arrivals.get("until", {}), dict[str, int])
        for (name, part), data in saved.items():
            if part != SHARD_KEY or (name, part) == ARRIVALS or name not in self._references:
                continue
            state = _unpack(data)
            model = self._models[name] = _Model(Queue.restored(state, self._references[name]), self._linker_of(name))
            model.queue.until = until.get(name, -1)
            if saved.get((name, LINKER)):
                self._restore_linker(name, model, saved)

    def _restore_linker(self, name: str, model: _Model, saved: Mapping[tuple[str, str], bytes]) -> None:
        own = _unpack(saved[name, LINKER])
        if own["reference"] != self._references[name]:
            log.warning("links are sought anew: the model has another reference than its saved sketches", model=name)
            return
        blocks = {part: data for (model_of, part), data in saved.items() if model_of == name}
        value = model.blocks.whole(blocks, int(own["blocks"]))
        if value is None:  # another program has overwritten a block, which was reported
            log.warning("links are sought anew: a part of the saved state is missing", model=name)
            return
        try:
            model.linker.restore(value)
        except SnapshotError as error:
            model.blocks.forget()
            log.warning("links are sought anew: the saved state is of no use", model=name, cause=str(error))


def _pack(content: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode({"version": STATE_VERSION, **content})


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"the saved state of links is damaged: {error}") from error
    if found.get("version") != STATE_VERSION:
        raise SnapshotError(
            f"the saved state of links has format {found.get('version')}, this version reads {STATE_VERSION}: run the version "
            "that wrote it, or start without saved state"
        )
    return found
