"""How much faster several workers are than one: `detector run` on a log that lies there already.

The rate is taken in the middle of the work, when all workers are busy. Workers, broker and measurement share the machine's
cores, so the processor time of workers and broker is reported with it: where their sum is near the number of cores, the
machine is full, and more cannot be had of it.
"""

import os
import time
from pathlib import Path
from typing import Any

from tests.bench.bench_log import make_log
from tests.bench.kafka_rig import Cores, Rig, Service, processor_seconds

CONSUMED, USED = "detector_events_consumed_total", "process_cpu_seconds_total"
BEGIN, END = 0.2, 0.85  # of the events
STEP = 20_000


def measure_workers(
    address: str,
    folder: Path,
    broker_process: int | None,
    *,
    clients: int,
    events: int,
    partitions: int,
    client: str,
    workers: int = 2,
) -> dict[str, Any]:
    """Return events a second of one worker and of several, and their ratio."""
    common: dict[str, Any] = {"partitions": partitions, "keyed": True, "baseline": folder / "baseline", "client": client}
    filled: Rig | None = None
    found = {}
    for count in (1, workers):
        rig = Rig(address, folder, log=filled.log if filled else None, **common)
        if filled is None:
            for at in range(0, events, STEP):
                rig.fill(make_log(min(STEP, events - at), clients, first=at, seed=9))
            filled = rig
        with rig.service(workers=count) as service:
            found[count] = _rate(service, events, broker_process)
    one, several = found[1], found[workers]
    return {
        "client": client,
        "cores": os.cpu_count(),
        "clients": clients,
        "events": events,
        "workers": {str(count): each for count, each in found.items()},
        "ratio": round(several["events_per_s"] / one["events_per_s"], 3),
        "ratio_per_cpu_second": round(one["cpu_us_per_event"] / several["cpu_us_per_event"], 3),
    }


def _rate(service: Service, events: int, broker_process: int | None) -> dict[str, Any]:
    moments = []
    cores: Cores | None = None
    for share in (BEGIN, END):
        service.wait(lambda share=share: _consumed(service) >= share * events)  # type: ignore[misc]
        idle = None if cores is None else cores.idle()
        cores = Cores()
        broker_s = processor_seconds(broker_process) if broker_process else 0.0
        figures = service.figures(CONSUMED, USED)
        moments.append((time.perf_counter(), broker_s, figures))
    (start, broker_before, before), (end, broker_after, after) = moments
    done = [later[CONSUMED] - earlier[CONSUMED] for earlier, later in zip(before, after, strict=True)]
    used = [later[USED] - earlier[USED] for earlier, later in zip(before, after, strict=True)]
    lasted = end - start
    return {
        "events_per_s": round(sum(done) / lasted),
        "events_per_s_each": [round(each / lasted) for each in done],
        "busy_each": [round(each / lasted, 3) for each in used],
        "idle_cores": idle,
        "busy_broker": round((broker_after - broker_before) / lasted, 3),
        "cpu_us_per_event": round(1e6 * sum(used) / sum(done), 3),
    }


def _consumed(service: Service) -> float:
    return sum(figures[CONSUMED] for figures in service.figures(CONSUMED))
