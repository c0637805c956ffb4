"""What a batch costs, whatever is in it: the price of an event in batches of 1, 10, 100 and 1,000.

    python -m tests.bench.bench_batches [--quick] [--out bench-batches.json]

A service with little traffic, or with many partitions, gets few events at a time, and then waits for what a batch costs by
itself. The same lines go through the pipeline in pieces of each size, in turn with decoding (`DecodeToArrays`, 1,000 at a
time), in one process with one thread, by processor time; a price is the median over the rounds of the ratio to decoding within
a round. Clients begin with full memories. `whole` is all that `replay` does with a model that has a baseline. `engine` is the
shard alone, which gets the batches ready made; the search for links then only gets its sketches.
"""

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from detector.baseline.store import Baseline
from detector.ingest.batch import Batch
from tests.bench.bench_log import make_log
from tests.bench.bench_pipeline import WARM, machine, timed, warmed
from tests.bench.subjects import DecodeToArrays, EngineAlone, Saved, Whole, assembled, fit

SIZES = (1, 10, 100, 1000)
GOALS = {1: 15.0, 10: 3.5}  # times decoding, an event

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: clients, rounds, and events a round and size of batch; the baseline's clients and their queries."""

    clients: int = 1000
    rounds: int = 15
    events: int = 1000
    baseline_clients: int = 60
    baseline_queries: int = 100


QUICK = Size(clients=300, rounds=7)


def measure(baseline: Baseline, donors: Saved, size: Size) -> dict[str, Any]:
    """Time all sizes of batches in turn; returns prices in microseconds an event and as multiples of decoding."""
    decode = DecodeToArrays()
    wholes = {at_once: Whole(baseline, at_once=at_once) for at_once in SIZES}
    engines = {at_once: EngineAlone(baseline) for at_once in SIZES}
    for at_once in SIZES:
        wholes[at_once].restore(donors, size.clients)
        engines[at_once].restore(donors, size.clients)
    gc.collect()
    gc.freeze()
    seconds: dict[str, dict[int, list[float]]] = {name: {at_once: [] for at_once in SIZES} for name in ("whole", "engine")}
    decoding: list[float] = []
    first = WARM * size.clients
    for turn in range(-1, size.rounds):  # the first round only warms caches
        lines = make_log(size.events, size.clients, first=first, seed=700 + turn)
        first += size.events
        work: list[tuple[list[float], Callable[[], object]]] = [(decoding, _running(decode, lines))]
        work += [(seconds["whole"][at_once], _running(whole, lines)) for at_once, whole in wholes.items()]
        work += [
            (seconds["engine"][at_once], _running(engine, assembled(lines, at_once))) for at_once, engine in engines.items()
        ]
        turned = (turn + 1) % len(work)
        for taken, run in work[turned:] + work[:turned]:
            each = timed(run) / len(lines)
            if turn >= 0:
                taken.append(each)
    gc.unfreeze()
    return {
        "decode_us": round(1e6 * statistics.median(decoding), 3),
        "prices": {
            name: {
                str(at_once): {
                    "us_per_event": round(1e6 * statistics.median(each), 3),
                    "to_decode": round(statistics.median(a / b for a, b in zip(each, decoding, strict=True)), 3),
                }
                for at_once, each in by_size.items()
            }
            for name, by_size in seconds.items()
        },
    }


def _running(
    subject: Callable[[Sequence[bytes]], object] | Callable[[Sequence[Batch]], object], given: Any
) -> Callable[[], object]:
    return lambda: subject(given)


def show(found: dict[str, Any]) -> None:
    """Print the result as a table."""
    table = Table(title="price of an event, in times decoding")
    table.add_column("events a batch")
    for column in ("whole", "goal", "engine", "whole, us"):
        table.add_column(column, justify="right")
    prices = found["prices"]
    for at_once in SIZES:
        whole, engine = (prices[name][str(at_once)] for name in ("whole", "engine"))
        goal = GOALS.get(at_once)
        cells = (f"{whole['to_decode']:.2f}", f"{goal or ''}", f"{engine['to_decode']:.2f}", f"{whole['us_per_event']:.1f}")
        table.add_row(f"{at_once:,}", *cells)
    Console().print(table)


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_batches", description="measure the price of a batch")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, under a minute")
    parser.add_argument("--out", type=Path, default=Path("bench-batches.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else Size()
    numba.set_num_threads(1)
    with threadpool_limits(limits=1):
        console.print("fitting a baseline, filling memories ...")
        baseline = fit(size.baseline_clients, size.baseline_queries)
        donors = warmed(baseline, 100)
        console.print("timing ...")
        found = measure(baseline, donors, size)
    show(found)
    options.out.write_text(
        json.dumps({"machine": machine(), "quick": options.quick, **found}, indent=2) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
