"""Write the tables of `docs/pages/performance.md` from the figures that the benches left.

    python -m tests.bench.performance_page [FOLDER] > docs/pages/performance.md

FOLDER holds the JSON files of `make bench`, `make bench-kafka` and `make bench-peers`. Rows whose file is missing, or whose
part was not measured, say so. What is written by hand stays in this file.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.bench_peers import LABELS

FILES = ("bench", "bench-batches", "bench-links", "bench-kafka", "bench-peers")
UNKNOWN = "not measured"
INTRO = """# Performance

What an event costs, as ratios taken in one run, because machines differ. *Decoding* is the least that any pipeline in Python
does with a log: `msgspec` decodes an event, its numbers go into arrays, and its client's slot is looked up; nothing is checked.
`whole / decode` of .5 means that the whole pipeline passes half as many events a second as decoding alone.

Missed goals are marked. Most are missed: each channel, the search for links and the odometer look at every query.

This page is written by `python -m tests.bench.performance_page` from what these commands leave:

| command | what it measures | time on two cores |
|---|---|---|
| `make bench` | the pipeline in one process, small batches, links, odometer, formats | 15 minutes; each part has `--quick` |
| `make bench-kafka` | the service on a real broker: speed, delay, restore, two workers | 20 minutes; `--quick` |
| `make bench-peers` | bytewax and quixstreams on a trivial job | 5 minutes; `--quick` |
"""

PEERS = """The trivial job is to decode each event and to count the queries of each client; nothing is checked. bytewax and
quixstreams are general: they keep any state. This project's pipeline does all its work in the same table."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with its goal; `of` finds it in the files, and `least` tells whether more is better."""

    title: str
    goal: float
    of: Callable[[dict[str, Any]], float]
    least: bool = True
    form: str = "{:.2f}"


def _case(found: dict[str, Any], *, many: bool) -> dict[str, Any]:
    cases: list[dict[str, Any]] = [case for case in found["bench"]["cases"] if case["traffic"] == "uniform"]
    return (max if many else min)(cases, key=lambda case: int(case["clients"]))


def _kind(found: dict[str, Any], kind: str) -> float:
    return float(next(own["whole_to_decode"] for own in found["bench"]["kinds"] if own["kind"] == kind))


def _price(found: dict[str, Any], at_once: int) -> float:
    return float(found["bench-batches"]["prices"]["whole"][str(at_once)]["to_decode"])


def _both(found: dict[str, Any], client: str) -> float:
    return float(
        next(case["ratios"]["both_to_decode_cpu"] for case in found["bench-kafka"]["speed"] if case["client"] == client)
    )


def _delay(found: dict[str, Any], quantile: int) -> float:
    cases = [case for case in found["bench-kafka"]["latency"] if case["stages"] == "both"]
    return float(max(cases, key=lambda case: int(case["rate"]))[f"p{quantile}_ms"])


ROWS = (
    Row("whole / decode, tables, few clients", 0.75, lambda found: _case(found, many=False)["ratios"]["whole_to_decode"]),
    Row("whole / decode, tables, many clients", 0.55, lambda found: _case(found, many=True)["ratios"]["whole_to_decode"]),
    Row("whole / decode, pictures", 1.3, lambda found: _kind(found, "picture")),
    Row("whole / decode, embeddings", 1.5, lambda found: _kind(found, "embedding")),
    Row("whole / naive pipeline", 25.0, lambda found: _case(found, many=False)["ratios"]["whole_to_naive"], form="{:.0f}"),
    Row(
        "price of an event in a batch of 1, in times decoding", 15.0, lambda found: _price(found, 1), least=False, form="{:.1f}"
    ),
    Row("the same in a batch of 10", 3.5, lambda found: _price(found, 10), least=False, form="{:.1f}"),
    Row(
        "search for links, us a query",
        25.0,
        lambda found: found["bench-links"]["costs"]["links"]["us"],
        least=False,
        form="{:.1f}",
    ),
    Row(
        "odometer, us a query", 20.0, lambda found: found["bench-links"]["costs"]["odometer"]["us"], least=False, form="{:.1f}"
    ),
    Row("both stages / consume and decode, kafka-python", 0.45, lambda found: _both(found, "kafka-python")),
    Row("both stages / consume and decode, librdkafka", 0.45, lambda found: _both(found, "confluent")),
    Row(
        "event to decision at the highest rate, one process, p50 ms",
        20.0,
        lambda found: _delay(found, 50),
        least=False,
        form="{:.0f}",
    ),
    Row("the same, p99 ms", 80.0, lambda found: _delay(found, 99), least=False, form="{:.0f}"),
    Row("two workers over one", 1.85, lambda found: found["bench-kafka"]["workers"][0]["ratio"]),
    Row(
        "restore of all clients, s",
        5.0,
        lambda found: found["bench-kafka"]["restore"][0]["seconds"],
        least=False,
        form="{:.1f}",
    ),
    Row(
        "bytes a client",
        10_000,
        lambda found: _case(found, many=True)["bytes_per_client"]["columns"],
        least=False,
        form="{:,.0f}",
    ),
    Row("a late query over an early one", 1.1, lambda found: found["bench"]["history"]["ratio"], least=False),
)


def read(folder: Path) -> dict[str, Any]:
    """Return what the benches left, by file; a file that is not there is left out."""
    return {name: json.loads(path.read_text(encoding="utf-8")) for name in FILES if (path := folder / f"{name}.json").exists()}


def rows(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table of goals."""
    yield "| | figure | goal | |"
    yield "|---|---:|---:|---|"
    for row in ROWS:
        goal = row.form.format(row.goal)
        try:
            value = float(row.of(found))
        except (KeyError, StopIteration, IndexError, ValueError, TypeError):
            yield f"| {row.title} | {UNKNOWN} | {goal} | |"
            continue
        met = value >= row.goal if row.least else value <= row.goal
        yield f"| {row.title} | {row.form.format(value)} | {goal} | {'' if met else 'missed'} |"


def peers(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table of other stream processors."""
    yield "| | us an event | times decoding |"
    yield "|---|---:|---:|"
    own = found.get("bench-peers", {"us_per_event": {}, "of_decode": {}})
    for name, label in LABELS.items():
        if name in own["us_per_event"]:
            yield f"| {label} | {own['us_per_event'][name]:.1f} | {own['of_decode'][name]:.2f} |"
        else:
            yield f"| {label} | {UNKNOWN} | |"


def page(found: dict[str, Any]) -> Iterator[str]:
    """Yield the page, line by line."""
    yield INTRO
    yield "## Figures and goals\n"
    yield from rows(found)
    sizes = (
        [f"few clients are {_case(found, many=False)['clients']:,}, many are {_case(found, many=True)['clients']:,}"]
        if "bench" in found
        else []
    )
    quick = [name for name, own in found.items() if own.get("quick") or own.get("settings", {}).get("quick")]
    machines = sorted({own["machine"]["cpu"] for own in found.values() if "machine" in own})
    said = "; ".join([*sizes, f"processor: {', '.join(machines) or 'unknown'}"])
    yield f"\n{said[0].upper()}{said[1:]}."
    if quick:
        yield f"Measured at the quick size, which is rougher: {', '.join(f'`{name}`' for name in quick)}."
    yield "\n## Other stream processors\n"
    yield PEERS
    yield ""
    yield from peers(found)


def main(arguments: list[str]) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.performance_page", description="write the performance page")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="where the figures are (default: here)")
    options = parser.parse_args(arguments)
    sys.stdout.write("\n".join(page(read(options.folder))) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
