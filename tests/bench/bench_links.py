"""What the search for links and the odometer cost beside the rest of the pipeline.

    python -m tests.bench.bench_links [--quick] [--out bench-links.json]

The same events go through the pipeline with both, without links, and without the odometer, in turn, in one process with one
thread, by processor time; a cost is the median over the rounds of the difference within a round. Machines differ, so costs are
told as multiples of decoding as well (`DecodeToArrays`). Two thirds of the accounts belong to organisations, so their meter is
in both costs: it needs links and the odometer. Readings become rarer the more a client has asked, so short runs cost more.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import orjson
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from detector.baseline.store import Baseline
from detector.config import Config
from detector.config.detection import LinksSection
from detector.config.odometer import OdometerSection
from tests.bench.bench_log import make_log
from tests.bench.bench_pipeline import machine, timed
from tests.bench.subjects import DecodeToArrays, Whole, fit

HOUSES = 20  # organisations, of as many accounts each
LINKS_GOAL, ODOMETER_GOAL = 25.0, 20.0  # microseconds a query
MEMORY_GOAL = 8_000_000  # bytes a model

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: clients, rounds, and events a round; the baseline's clients and the queries of each."""

    clients: int = 1000
    rounds: int = 11
    events: int = 20_000
    baseline_clients: int = 60
    baseline_queries: int = 100


QUICK = Size(clients=200, rounds=5, events=4000)


def housed(lines: Sequence[bytes], accounts: int) -> list[bytes]:
    """Return the events with an organisation for two thirds of the accounts, as most have in the field."""
    found = []
    for line in lines:
        event = orjson.loads(line)
        number = int(event["client"]["id"].lstrip("c"))
        if number % 3:
            event["client"]["organization"] = f"house-{number * HOUSES // max(accounts, 1)}"
        found.append(orjson.dumps(event))
    return found


def measure(baseline: Baseline, size: Size) -> dict[str, Any]:
    """Time all variants in turn; returns costs in microseconds a query and as multiples of decoding, and the memory."""
    off = {"links": LinksSection(enabled=False)}, {"odometer": OdometerSection(enabled=False)}
    variants = {
        "whole": Whole(baseline),
        "without_links": Whole(baseline, Config().model_copy(update=off[0])),
        "without_odometer": Whole(baseline, Config().model_copy(update=off[1])),
    }
    decode = DecodeToArrays()
    seconds: dict[str, list[float]] = {name: [] for name in ("decode", *variants)}
    for turn in range(-1, size.rounds):  # the first round only warms caches
        lines = housed(make_log(size.events, size.clients, first=(turn + 1) * size.events, seed=500 + turn), size.clients)
        work: list[tuple[str, Callable[[Sequence[bytes]], object]]] = [("decode", decode), *variants.items()]
        turned = (turn + 1) % len(work)
        for name, run in work[turned:] + work[:turned]:
            taken = timed(lambda run=run, lines=lines: run(lines)) / len(lines)  # type: ignore[misc]
            if turn >= 0:
                seconds[name].append(taken)
    costs = {part: _cost(seconds, f"without_{part}") for part in ("links", "odometer")}
    (linker,) = variants["whole"]._pipeline._linkers.values()
    return {
        "us_per_event": {name: round(1e6 * statistics.median(each), 3) for name, each in seconds.items()},
        "costs": costs,
        "bytes_per_model": linker.nbytes,
        "organizations_read": len(linker.leads()),
        "events": size.events * (size.rounds + 1),
    }


def _cost(seconds: dict[str, list[float]], without: str) -> dict[str, float]:
    added = [a - b for a, b in zip(seconds["whole"], seconds[without], strict=True)]
    return {
        "us": round(1e6 * statistics.median(added), 3),
        "us_lowest": round(1e6 * min(added), 3),
        "us_highest": round(1e6 * max(added), 3),
        "to_decode": round(statistics.median(a / b for a, b in zip(added, seconds["decode"], strict=True)), 3),
    }


def show(found: dict[str, Any]) -> None:
    """Print the result as a table."""
    table = Table(title="cost of a query, one thread")
    for name in ("", "us", "range", "times decoding", "goal, us"):
        table.add_column(name, justify="left" if not name else "right")
    for part, goal in (("links", LINKS_GOAL), ("odometer", ODOMETER_GOAL)):
        cost = found["costs"][part]
        spread = f"{cost['us_lowest']:.1f} to {cost['us_highest']:.1f}"
        table.add_row(part, f"{cost['us']:.1f}", spread, f"{cost['to_decode']:.2f}", f"{goal:.0f}")
    out = Console()
    out.print(table)
    out.print(
        f"The search for links of a model holds {found['bytes_per_model'] / 1e6:.2f} MB (goal: {MEMORY_GOAL / 1e6:.0f}), "
        f"{found['organizations_read']} organisations were read."
    )


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_links", description="measure links and the odometer")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, under a minute")
    parser.add_argument("--out", type=Path, default=Path("bench-links.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else Size()
    numba.set_num_threads(1)
    with threadpool_limits(limits=1):
        console.print("fitting a baseline ...")
        found = measure(fit(size.baseline_clients, size.baseline_queries), size)
    show(found)
    options.out.write_text(
        json.dumps({"machine": machine(), "quick": options.quick, **found}, indent=2) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
