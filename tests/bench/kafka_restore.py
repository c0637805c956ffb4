"""How long a worker that starts takes to have the state of all its clients back.

The clients lie in the state topic with full memories and as many event ids as ten minutes bring that have 10,000 events a
second. The whole is timed from the start of the stage; reading and taking in are timed again by themselves.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from detector.baseline import store as baselines
from detector.baseline.settings import engine_settings
from detector.clock import SystemClock
from detector.config import Config
from detector.engine.shard import Shard
from detector.service.detect.stage import DetectStage
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.service.state.seal import Seal
from detector.service.state.store import StateStore
from tests.bench.kafka_rig import Children, Rig, Watch
from tests.bench.subjects import Saved

EVENTS_IN_LATENESS = 6_000_000  # ten minutes at 10,000 a second


def measure_restore(
    address: str, folder: Path, donors: Saved, *, clients: int, partitions: int, client: str, ids: int | None = None
) -> dict[str, Any]:
    """Return the seconds to restore so many clients, in one worker that owns all partitions."""
    rig = Rig(address, folder, partitions=partitions, keyed=True, baseline=folder / "baseline", client=client)
    remembered = min(EVENTS_IN_LATENESS // clients, 150) if ids is None else ids
    size = rig.fill_state(donors, clients, ids=remembered)
    children = Children({"whole": (_start, (rig.config, partitions)), "parts": (_parts, (rig.config, partitions))})
    try:
        whole, parts = children.ask("whole"), children.ask("parts")
    finally:
        children.close()
    if whole["clients"] != clients or parts["clients"] != clients:
        raise RuntimeError(f"{whole['clients']} and {parts['clients']} clients were restored of {clients}")
    return {"client": client, "clients": clients, "ids_per_client": remembered, "bytes": size, **whole, **parts}


def _start(config: Config, partitions: int) -> Generator[Any, None, None]:
    assert config.baseline.path is not None
    known = baselines.load(config.baseline.path)
    topics = Topics.under(config.kafka.prefix)
    yield None
    watch = Watch()
    stage = DetectStage(config, known, Connection(config.kafka), topics, partitions, SystemClock(), None)
    while not stage.partitions or stage._fresh:
        stage.step(20)
    wall_s, cpu_s = watch.read()
    clients = sum(owned.shard.clients for owned in stage._owned.values())
    yield {"seconds": round(wall_s, 3), "cpu_s": round(cpu_s, 3), "clients": clients}
    stage.abandon()


def _parts(config: Config, partitions: int) -> Generator[Any, None, None]:
    assert config.baseline.path is not None
    known = baselines.load(config.baseline.path)
    connection, topics = Connection(config.kafka), Topics.under(config.kafka.prefix)
    seal = Seal(engine_settings(config).secret)
    archive = StateStore(connection, topics, config.kafka.group_id, partitions, seal, lambda: None)
    yield None
    spent = np.zeros((2, 2))
    clients = 0
    for number in range(partitions):
        watch = Watch()
        state = archive.read(number, lambda: False)
        assert state is not None
        spent[0] += watch.read()
        watch = Watch()
        shard = Shard(engine_settings(config), known.models)
        shard.restore(state.values)
        spent[1] += watch.read()
        clients += shard.clients
    (read_s, read_cpu_s), (take_in_s, take_in_cpu_s) = spent.round(3).tolist()
    yield {
        "read_s": read_s,
        "read_cpu_s": read_cpu_s,
        "take_in_s": take_in_s,
        "take_in_cpu_s": take_in_cpu_s,
        "clients": clients,
    }
