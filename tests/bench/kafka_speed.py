"""How fast records come out of Kafka, out of Kafka and decoded, and through the whole service; each in a process of its own.

The processes work in turn on the same topic, one piece each a round. Checkpoints are left out of the pieces and timed by
themselves, with every client changed, and then charged as often as a service under full load makes them.
"""

import gc
import statistics
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from kafka import TopicPartition
from threadpoolctl import threadpool_limits

from detector.baseline import store as baselines
from detector.clock import SystemClock
from detector.config import Config
from detector.service.detect.stage import MOST_RECORDS, DetectStage
from detector.service.ingest.stage import IngestStage
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from tests.bench.bench_log import make_log
from tests.bench.kafka_rig import Children, Rig, Watch
from tests.bench.subjects import DecodeToArrays, Saved

POLL_MS = 20
NEVER_S = 3600.0
STEP = 20_000

Taken = dict[str, float]


def measure_speed(
    address: str, folder: Path, donors: Saved, *, clients: int, events: int, rounds: int, partitions: int, client: str
) -> dict[str, Any]:
    """Time `rounds` rounds of `events` events each; `donors` are in ``folder/baseline``'s space."""
    common: dict[str, Any] = {"partitions": partitions, "baseline": folder / "baseline", "client": client}
    keyed = Rig(address, folder, keyed=True, checkpoint_seconds=NEVER_S, **common)
    both = Rig(address, folder, keyed=False, checkpoint_seconds=NEVER_S, log=keyed.log, **common)
    for rig in (keyed, both):
        rig.fill_state(donors, clients, ids=0)
    first = len(donors) * 1000
    # Every process reads a little ahead of its piece, so there is one piece more than rounds, and some slack.
    for at in range(0, (rounds + 1) * (events + MOST_RECORDS) + STEP, STEP):
        keyed.fill(make_log(STEP, clients, first=first + at, seed=9))
    children = Children(
        {
            "consume": (_consume, (keyed.config, keyed.log, partitions, False)),
            "decode": (_consume, (keyed.config, keyed.log, partitions, True)),
            "detect": (_serve, (keyed.config, partitions)),
            "both": (_serve, (both.config, partitions)),
        }
    )
    names = ("consume", "decode", "detect", "both")
    pieces: dict[str, list[Taken]] = {name: [] for name in names}
    try:
        for turn in range(-1, rounds):  # the first round only warms up
            for name in (names, names[::-1])[turn % 2]:
                taken = children.ask(name, events)
                if turn >= 0:
                    pieces[name].append(taken)
    finally:
        children.close()
    seconds = Config().kafka.checkpoint_seconds
    found: dict[str, Any] = {name: _summary(own, seconds) for name, own in pieces.items()}
    ratios = {
        f"{name}_to_decode_{kind}": round(found["decode"][f"{kind}_us"] / found[name][f"{kind}_us"], 4)
        for name in ("detect", "both")
        for kind in ("cpu", "wall")
    }
    return {"client": client, "clients": clients, "events": events, "rounds": rounds, "subjects": found, "ratios": ratios}


def _summary(pieces: list[Taken], every_s: float) -> dict[str, Any]:
    """Medians over the pieces, in microseconds an event, with the share of a checkpoint every so many seconds."""
    found: dict[str, Any] = {}
    wall_s = statistics.median(piece["wall_s"] / piece["events"] for piece in pieces)
    saving_s = statistics.median(piece["checkpoint_wall_s"] for piece in pieces)
    between = max(every_s - saving_s, saving_s, 0.1) / wall_s  # events from one checkpoint to the next, under full load
    for kind in ("wall", "cpu"):
        own = [1e6 * piece[f"{kind}_s"] / piece["events"] for piece in pieces]
        saving = statistics.median(piece[f"checkpoint_{kind}_s"] for piece in pieces)
        found[f"{kind}_us"] = round(statistics.median(own) + 1e6 * saving / between, 3)
        found[f"{kind}_us_range"] = [round(min(own), 3), round(max(own), 3)]
        found[f"checkpoint_{kind}_s"] = round(saving, 4)
    found["events_per_s"] = round(1e6 / found["wall_us"])
    return found


def _timed(work: Iterator[int], events: int) -> Taken:
    """Let `work` go on until it has done so many events."""
    done = 0
    watch = Watch()
    while done < events:
        done += next(work)
    wall_s, cpu_s = watch.read()
    return {"events": done, "wall_s": wall_s, "cpu_s": cpu_s, "checkpoint_wall_s": 0.0, "checkpoint_cpu_s": 0.0}


def _consume(config: Config, log: str, partitions: int, decoded: bool) -> Generator[Any, int, None]:
    consumer = Connection(config.kafka).bounded.reader(max_poll_records=MOST_RECORDS, fetch_max_wait_ms=50)
    consumer.assign([TopicPartition(log, number) for number in range(partitions)])
    decode = DecodeToArrays(MOST_RECORDS)

    def work() -> Iterator[int]:
        while True:
            count = 0
            for records in consumer.poll(timeout_ms=POLL_MS).values():
                count += len(records)
                if decoded:
                    decode([record.value for record in records])
            yield count

    with threadpool_limits(limits=1):
        working = work()
        gc.freeze()
        events = yield None
        while True:
            events = yield _timed(working, events)


def _serve(config: Config, partitions: int) -> Generator[Any, int, None]:
    numba.set_num_threads(1)
    folder = config.baseline.path
    assert folder is not None
    known = baselines.load(folder)
    connection, topics, clock = Connection(config.kafka), Topics.under(config.kafka.prefix), SystemClock()
    ingest = None if config.kafka.keyed else IngestStage(config, connection, topics, partitions, clock, known)
    detect = DetectStage(config, known, connection, topics, partitions, clock, None)

    def work() -> Iterator[int]:
        while True:
            if ingest is None:
                yield detect.step(POLL_MS)
            else:
                ingest.step(POLL_MS // 2)
                yield detect.step(POLL_MS // 2)

    with threadpool_limits(limits=1):
        working = work()
        while not next(working):
            pass
        gc.freeze()
        events = yield None
        try:
            while True:
                taken = _timed(working, events)
                watch = Watch()
                detect.checkpoint()
                taken["checkpoint_wall_s"], taken["checkpoint_cpu_s"] = watch.read()
                events = yield taken
        finally:
            with suppress(Exception):  # it is over
                detect.abandon()
