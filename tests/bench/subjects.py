"""What the bench times: decoding alone, ingest, the whole pipeline, and the two ways to do without it.

Each subject takes lines and does all of its work before it returns; none keeps them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from detector.baseline.fit import fit_baseline
from detector.baseline.secret import settings_of
from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.clock import Clock, HeldClock
from detector.config import Config
from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.engine.shard import SHARD_KEY, Shard
from detector.engine.state import ClientSnapshot, dump
from detector.ingest.assemble import Assembler
from detector.ingest.batch import Batch
from detector.ingest.lines import Chunk
from detector.offline.pipeline import Pipeline
from tests.bench.bench_log import START_MS, make_log
from tests.bench.naive import NaivePipeline
from tests.quality.published.prada import Prada

MODEL = "bench"
BATCH = 1000
CLOCK: Clock = HeldClock(START_MS + 10**10)

Saved = Mapping[tuple[str, str], bytes]


class _Client(msgspec.Struct, gc=False):
    id: str


class _Input(msgspec.Struct, gc=False):
    vector: list[float]


class _Output(msgspec.Struct, gc=False):
    probabilities: list[float]


class _Event(msgspec.Struct, gc=False):
    client: _Client
    input: _Input
    output: _Output


class DecodeToArrays:
    """The least that any pipeline in Python does: decode, put the numbers into arrays, find the client's slot.

    Nothing is checked and nothing else is kept, neither time nor label nor event id. In batches as large as the pipeline's
    the decoded numbers outgrow the processor's nearest caches; in small ones they do not.
    """

    def __init__(self, batch: int = BATCH) -> None:
        self._decode = msgspec.json.Decoder(_Event).decode
        self._slots: dict[str, int] = {}
        self._batch = batch

    def __call__(self, lines: Sequence[bytes]) -> None:
        decode, slots = self._decode, self._slots
        for at in range(0, len(lines), self._batch):
            events = [decode(line) for line in lines[at : at + self._batch]]
            np.array([event.input.vector for event in events], np.float32)
            np.array([event.output.probabilities for event in events], np.float32)
            for event in events:
                if event.client.id not in slots:
                    slots[event.client.id] = len(slots)
            np.array([slots[event.client.id] for event in events])


class Ingest:
    """Decode, check and assemble batches."""

    def __init__(self) -> None:
        self._assembler = Assembler(CLOCK)
        self._sequence = 0

    def __call__(self, lines: Sequence[bytes]) -> None:
        for chunk in chunks(lines, self._sequence):
            self._assembler.assemble_chunk(chunk, first_sequence=self._sequence)
            self._sequence += len(chunk)


class Documents:
    """A sink that turns every document into its bytes, as one that delivers would, and keeps only their number."""

    def __init__(self) -> None:
        self.count = 0

    def _take(self, documents: Iterable[Alert | Decision | DeadLetter]) -> None:
        for document in documents:
            to_json(document)
            self.count += 1

    alerts = decisions = dead_letters = _take

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        for client in clients:
            orjson.dumps(client)
            self.count += 1


class Whole:
    """The pipeline: from lines to rendered documents, every event remembered and every look scored."""

    def __init__(self, baseline: Baseline, config: Config | None = None, *, at_once: int = BATCH) -> None:
        self.documents = Documents()
        self._pipeline = Pipeline(config or Config(), baseline, self.documents, CLOCK)
        self._line = 0
        self._at_once = at_once

    def __call__(self, lines: Sequence[bytes]) -> None:
        for chunk in chunks(lines, self._line, self._at_once):
            self._pipeline.feed(chunk)
        self._line += len(lines)

    def save(self) -> Saved:
        return self._pipeline._shards[0].snapshot()

    def restore(self, donors: Saved, clients: int) -> None:
        """Take in so many clients, named as in the logs, with the memories of the donors in turn."""
        restore(self._pipeline._shards[0], donors, clients)

    @property
    def bytes_per_client(self) -> int:
        return self._pipeline._shards[0]._tables[MODEL].columns.bytes_per_client

    @property
    def bytes_per_id(self) -> float:
        """Memory of the ledger of event ids, by the ids in it."""
        ledger = self._pipeline._shards[0]._tables[MODEL]._ledger
        return ledger.nbytes / max(ledger._used, 1)

    @property
    def counted(self) -> int:
        return self._pipeline.counts.events


class EngineAlone:
    """The shard of the pipeline alone: it takes batches ready made, and its outputs are thrown away."""

    def __init__(self, baseline: Baseline) -> None:
        self._shard = Shard(settings_of(Config(), baseline), baseline.models)

    def __call__(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._shard.process(batch)

    def restore(self, donors: Saved, clients: int) -> None:
        """Take in so many clients, named as in the logs, with the memories of the donors in turn."""
        restore(self._shard, donors, clients)


class Naive:
    """The pipeline that one writes first; see `NaivePipeline`."""

    def __init__(self) -> None:
        self._pipeline = NaivePipeline()

    def __call__(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._pipeline.process(line)


class PradaAlone:
    """PRADA as published, for one client and without decoding: it is given vectors and labels."""

    def __init__(self) -> None:
        self._client = Prada()

    def __call__(self, lines: Sequence[tuple[list[float], int]]) -> None:
        for vector, label in lines:
            self._client.observe(vector, label)


def restore(shard: Shard, donors: Saved, clients: int) -> None:
    """Give a shard so many clients, named as in the logs, with the memories of the donors in turn.

    The ids of the donors' own events are left out: no repeat of them will come.
    """
    shard.restore({(MODEL, SHARD_KEY): donors[MODEL, SHARD_KEY]})
    own = [msgspec.msgpack.decode(data, type=ClientSnapshot) for (_, name), data in donors.items() if name != SHARD_KEY]
    table = shard._tables[MODEL]
    step = 1000
    for at in range(0, clients, step):
        table.restore(
            [
                dump(msgspec.structs.replace(own[i % len(own)], client=f"c{i:06d}", ids=b""))
                for i in range(at, min(at + step, clients))
            ]
        )


def chunks(lines: Sequence[bytes], done: int, at_once: int = BATCH) -> Iterator[Chunk]:
    """Cut lines into chunks as `replay` does; `done` lines came before."""
    for at in range(0, len(lines), at_once):
        yield Chunk("bench.jsonl", done + at + 1, list(lines[at : at + at_once]))


def assembled(lines: Sequence[bytes], at_once: int) -> list[Batch]:
    """Return the batches that ingest makes of lines, so many at a time."""
    assembler = Assembler(CLOCK)
    found: list[Batch] = []
    for chunk in chunks(lines, 0, at_once):
        found += assembler.assemble_chunk(chunk, first_sequence=chunk.first_line - 1)[0]
    return found


def fit(clients: int, each: int) -> Baseline:
    """Fit a baseline on a log of its own."""
    log = make_log(clients * each, clients, seed=1)

    def read() -> Iterator[Batch]:
        assembler = Assembler(CLOCK)
        for chunk in chunks(log, 0):
            yield from assembler.assemble_chunk(chunk, first_sequence=chunk.first_line - 1)[0]

    return fit_baseline(read, engine_settings(Config()))


def questions(lines: Iterable[bytes]) -> list[tuple[list[float], int]]:
    """Return the vector and the label of each line."""
    events = map(orjson.loads, lines)
    return [(event["input"]["vector"], event["output"]["label"]) for event in events]
