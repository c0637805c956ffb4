"""How fast each format of logs is decoded, beside the native one.

    python -m tests.bench.bench_formats [--rounds N] [--out bench-formats.json]

The records are those of the golden samples, repeated. Each round decodes every format in turn, in one process and by processor
time, and a ratio is the median over the rounds of events a second over those of the native format in the same round. Formats
whose samples hold no event are left out.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from detector.ingest.formats.decoder import Decoder, Record, several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.registry import FORMATS
from tests.ingest.formats.test_registry import decoder as decoder_of
from tests.ingest.formats.test_registry import samples

EVENTS = 3000  # in a round, of each format

console = Console(stderr=True)


def rate(decoder: Decoder, records: Sequence[Record], times: int) -> float:
    """Return events a second of decoding `records` so many times."""
    events = 0
    decode = decoder.decode
    started = time.process_time()
    for _ in range(times):
        for record in records:
            for outcome in several(decode(record)):
                events += isinstance(outcome, DecodedEvent)
    return events / (time.process_time() - started)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return, by format, events a second and the ratio to the native format."""
    subjects: dict[str, tuple[Decoder, list[Record], int]] = {}
    for name in FORMATS:
        decoder = decoder_of(name)
        records = [record for record, outcomes in samples(name) if outcomes or name != "native"]
        found = sum(isinstance(one, DecodedEvent) for record in records for one in several(decoder.decode(record)))
        if found:
            subjects[name] = (decoder, records, max(1, EVENTS // found))
    seen: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            seen[name].append(rate(*subject))
    native = seen["native"]
    return {
        name: {
            "events_per_second": round(statistics.median(rates)),
            "ratio_to_native": round(statistics.median(a / b for a, b in zip(rates, native, strict=True)), 3),
        }
        for name, rates in seen.items()
    }


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_formats", description="measure the formats of logs")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all formats (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("bench-formats.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    found = measure(options.rounds)
    table = Table("format", "events/s", "ratio to native")
    for name, figures in sorted(found.items(), key=lambda pair: -pair[1]["ratio_to_native"]):
        table.add_row(name, f"{figures['events_per_second']:,.0f}", f"{figures['ratio_to_native']:.2f}")
    console.print(table)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
