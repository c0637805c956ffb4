"""The pipeline on one machine: lines of a log in, documents out, the engine between them.

`Pipeline` is what `replay`, `run`, the demo and the notebooks share. It decodes chunks of lines, deals events to one shard per
partition as Kafka would, renders what the shards find and hands it to a sink, in stream order, so that the results do not
depend on how the lines were cut into chunks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from detector.baseline.price import copies_of
from detector.baseline.secret import settings_of
from detector.baseline.store import NO_BASELINE, Baseline, dimensions_of
from detector.clock import Clock
from detector.config import Config
from detector.contracts import DeadLetter
from detector.engine.findings import Outputs, Report
from detector.engine.linkers import linkers_for
from detector.engine.links.linker import Witness
from detector.engine.links.sketch import in_stream_order
from detector.engine.models.drift import Drift
from detector.engine.observer import Observer
from detector.engine.odometer.reading import LEADS
from detector.engine.partition import partition_of
from detector.engine.shard import Shard, drifts
from detector.ingest.assemble import Rejection, assembler_for
from detector.ingest.batch import Batch, Origin, usable
from detector.ingest.formats.decoder import Decoder
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.lines import Lines
from detector.ingest.places import Places
from detector.ingest.refusals import Refusals
from detector.sinks import render
from detector.sinks.sink import Sink
from detector.spill import SpillFile

BATCH_SIZE = 1000


@dataclass(slots=True)
class Counts:
    """What happened so far.

    `events` were counted, `repeated` were deliveries of an event that had been counted before, `clients` were reported (once
    per model). `holders` says how many of them held at least a lead, for a few leads. `campaigns` maps the id of each group of
    accounts that is to be reviewed or stopped to the highest lead that its accounts were read to hold together, and
    `organizations` the model and name of each organisation that was measured to that of its accounts.
    """

    events: int = 0
    invalid: int = 0
    repeated: int = 0
    alerts: int = 0
    decisions: int = 0
    clients: int = 0
    holders: dict[float, int] = field(default_factory=lambda: dict.fromkeys(LEADS, 0))
    campaigns: dict[str, float] = field(default_factory=dict)
    organizations: dict[tuple[str, str], float] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)

    @property
    def records(self) -> int:
        """How many records there were."""
        return self.events + self.invalid + self.repeated

    @property
    def verdict(self) -> str | None:
        """What makes the results worthless, in a sentence, if anything does."""
        return self.refusals.verdict(self.events, self.records)


class Pipeline:
    """One pass over a stream.

    `partitions` is over how many shards clients are dealt. `observer`, where given, sees every event in the engine, and
    `witness` every event that links accounts. `decoder`
    reads the lines; it is the one that `config` says unless given.
    """

    def __init__(
        self,
        config: Config,
        baseline: Baseline | None,
        sink: Sink,
        clock: Clock,
        *,
        partitions: int = 1,
        observer: Observer | None = None,
        decoder: Decoder | None = None,
        witness: Witness | None = None,
    ) -> None:
        settings = settings_of(config, baseline).dealt(partitions)
        self._sink = sink
        self._stamp = render.Stamp(
            baseline_version=baseline.version if baseline else NO_BASELINE,
            config_version=config.version,
            policy=settings.policy,
            cost=config.cost,
            copies=copies_of(baseline, config.cost, settings.policy),
        )
        known = dict(baseline.models) if baseline else {}
        reader = decoder or decoder_of_files(config, baseline.schemas if baseline else None)
        self._assembler = assembler_for(config, dimensions_of(known), clock, reader, settings.secret)
        self._shards = [Shard(settings, known, observer, SpillFile()) for _ in range(partitions)]
        self._linkers = linkers_for(settings, known, witness)
        self._partition: dict[str, int] = {}
        self._sequence = 0
        self._held: dict[int, tuple[Origin, bytes]] = {}
        self.counts = Counts()

    @property
    def learning(self) -> Mapping[str, int]:
        """Models without a baseline that are still being learned, and the events each has so far."""
        return {model: events for shard in self._shards for model, events in shard.learning.items()}

    @property
    def drift(self) -> Mapping[str, Drift]:
        """How well the clients so far fit the calibration, for each model with a baseline."""
        return drifts(self._shards)

    def feed(self, chunk: Lines) -> None:
        """Process the lines of a chunk."""
        batches, rejections, places = self._assembler.assemble_chunk(chunk, first_sequence=self._sequence)
        outputs = self._process(batches, len(places))
        self._give(outputs, rejections, _Fed(chunk, places))
        self._hold(_Fed(chunk, places))

    def finish(self) -> None:
        """Process what still waits, and report the clients: the stream has ended."""
        batches, rejections, places = self._assembler.finish(first_sequence=self._sequence)
        outputs = self._process(batches, len(places))
        for shard in self._shards:
            outputs.add(shard.finish())
        self._give(outputs, rejections, None)
        self._report(report for shard in self._shards for report in shard.reports())

    def _process(self, batches: list[Batch], length: int) -> Outputs:
        self._sequence += length
        good = usable(batches)
        self.counts.events += sum(map(len, good))
        self.counts.refusals.pass_by(good)
        outputs = Outputs()
        for shard, dealt in self._deal(batches):
            outputs.add(shard.process(*dealt))
        self._link(outputs)
        return outputs

    def _link(self, outputs: Outputs) -> None:
        """Let the linkers take in what all shards have sketched; they want it in stream order, whoever asked."""
        for model, sketches in in_stream_order(outputs.sketches).items():
            linker = self._linkers[model]
            before = linker.changes
            found = linker.process(sketches)
            outputs.add(found)
            if linker.changes == before:  # nothing to be told that was not told before
                continue
            held = self.counts.campaigns
            for finding in found.findings:
                held.setdefault(finding.client, 0.0)
            for group in linker.campaigns():
                reading = linker.telling.reading_of(group)
                if reading is not None and (name := linker.telling.name_of(group)) in held:
                    held[name] = max(held[name], reading.lead)
            for name, lead in linker.leads().items():
                self.counts.organizations[model, name] = max(lead, self.counts.organizations.get((model, name), 0.0))
        outputs.sketches.clear()

    def _deal(self, batches: list[Batch]) -> Iterator[tuple[Shard, list[Batch]]]:
        if len(self._shards) == 1:
            yield self._shards[0], batches
            return
        dealt: list[list[Batch]] = [[] for _ in self._shards]
        for batch in batches:
            owner = np.array([self._owner(client) for client in batch.client])
            for number in np.unique(owner).tolist():
                dealt[number].append(batch.take(np.flatnonzero(owner == number)))
        for shard, own in zip(self._shards, dealt, strict=True):
            if own:
                yield shard, own

    def _owner(self, client: str) -> int:
        if client not in self._partition:
            self._partition[client] = partition_of(client, len(self._shards))
        return self._partition[client]

    def _give(self, outputs: Outputs, rejections: list[Rejection], fed: "_Fed | None") -> None:
        outputs.sort()
        for refusal in outputs.refusals:
            sequence = refusal.sequence
            recent = fed is not None and sequence >= fed.places.first
            origin, record = fed.source(sequence) if fed is not None and recent else self._held[sequence]
            rejections.append(Rejection(refusal.sequence, origin, refusal.reason, refusal.detail, record))
        counts = self.counts
        counts.events -= len(outputs.refusals) + outputs.repeated
        counts.invalid += len(rejections)
        counts.repeated += outputs.repeated
        counts.alerts += len(outputs.findings) + len(outputs.held_back)
        counts.decisions += len(outputs.pending_decisions)
        rejections.sort(key=lambda rejection: rejection.sequence)
        counts.refusals.note(rejections)
        self._sink.dead_letters(
            DeadLetter.of(
                source=entry.origin.source,
                line=entry.origin.line,
                index=entry.origin.index,
                reason=entry.reason,
                detail=entry.detail,
                record=b"" if beside else entry.record,
            )
            for entry, beside in zip(rejections, _beside(rejections), strict=True)
        )
        self._sink.alerts(render.alerts(outputs, self._stamp))
        self._sink.decisions(render.decision(pending, self._stamp) for pending in outputs.pending_decisions)
        self._report(outputs.departed)

    def _report(self, reports: Iterable[Report]) -> None:
        for report in reports:
            self.counts.clients += 1
            for lead in LEADS:
                self.counts.holders[lead] += report.odometer is not None and report.odometer.lead >= lead
            self._sink.clients([render.client(report)])

    def _hold(self, fed: "_Fed") -> None:
        """Keep the records of events that wait for their model to be learned: they may yet become dead-letter records."""
        waiting = [sequence for shard in self._shards for sequence in shard.waiting()]
        first = fed.places.first
        self._held = {sequence: fed.source(sequence) if sequence >= first else self._held[sequence] for sequence in waiting}


def _beside(rejections: Sequence[Rejection]) -> list[bool]:
    """Tell which refused events share their record with the one before: the first one's dead-letter record holds it."""
    places = [(entry.origin.source, entry.origin.line) for entry in rejections]
    return [at > 0 and places[at - 1] == place and rejections[at].origin.index > 0 for at, place in enumerate(places)]


class _Fed(NamedTuple):
    """A chunk that was fed, and which of its lines each stream position came from."""

    chunk: Lines
    places: Places

    def source(self, sequence: int) -> tuple[Origin, bytes]:
        """Return where an event came from, and its record."""
        at, index = self.places.find(sequence)
        origin = self.chunk.origin(at)
        return replace(origin, index=index) if index else origin, self.chunk.lines[at]


def cut(chunk: Lines, size: int) -> Iterator[Lines]:
    """Cut a chunk into pieces of at most `size` lines."""
    if len(chunk.lines) <= size:
        yield chunk
        return
    for at in range(0, len(chunk.lines), size):
        yield chunk.part(at, at + size)
