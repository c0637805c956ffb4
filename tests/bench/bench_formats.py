"""How fast each format of logs is read, beside the native one.

    python -m tests.bench.bench_formats [--rounds N] [--dimension D] [--only FORMAT] [--out bench-formats.json]

Every format holds the same queries: 30 numbers and ten probabilities each, unless `--dimension` says otherwise. Each round
reads every format in turn, in one process and by processor time: decoded alone, and assembled into batches as a worker does. A
ratio is the median over the rounds of events a second over those of the native format in the same round. The formats of
language models hold texts, and are measured with their golden samples.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from detector.clock import HeldClock
from detector.ingest.assemble import Assembler
from detector.ingest.batch import usable
from detector.ingest.formats.decoder import Decoder, Record, several
from detector.ingest.formats.event import DecodedEvent
from tests.bench.format_records import SUBJECTS
from tests.ingest.formats.test_registry import decoder as decoder_of
from tests.ingest.formats.test_registry import samples

EVENTS = 1024  # in a round, of each format
AT_ONCE = 256  # records that are assembled together
NOW_MS = 1_900_000_000_000
OF_SAMPLES = ("litellm", "openai", "otel")
NATIVE = "native, 1 query"

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Entrant:
    """Records of one format, and what reads them."""

    decoder: Decoder
    records: Sequence[Record]

    def decode(self) -> tuple[int, float]:
        """Return events and seconds of decoding alone."""
        events = 0
        plain, decode = self.decoder.plain, self.decoder.decode
        started = time.process_time()
        for record in self.records:
            outcome = decode(record) if plain is None else plain(record.value)
            for one in several(outcome):
                events += isinstance(one, DecodedEvent)
        return events, time.process_time() - started

    def assemble(self) -> tuple[int, float]:
        """Return events and seconds of decoding and assembling."""
        assembler = Assembler(HeldClock(NOW_MS), decoder=self.decoder)
        events = 0
        started = time.process_time()
        for at in range(0, len(self.records), AT_ONCE):
            part = self.records[at : at + AT_ONCE]
            values = [record.value for record in part]
            found = assembler.assemble(values, "log", first_line=1, first_sequence=at, record_at=part.__getitem__)
            events += sum(map(len, usable(found.batches)))
        return events, time.process_time() - started


def entrants(dimension: int, only: str | None) -> dict[str, Entrant]:
    """Return what is measured, by name; the native format is always among them."""
    found = {
        subject.name: Entrant(subject.decoder(), subject.records(EVENTS, dimension))
        for subject in SUBJECTS
        if only is None or subject.format in {only, "native"}
    }
    for name in OF_SAMPLES:
        if only in {None, name}:
            records = [record for record, _ in samples(name)]
            found[f"{name}, samples"] = Entrant(decoder_of(name), records * (EVENTS // len(records)))
    return found


def measure(rounds: int, dimension: int = 30, only: str | None = None) -> dict[str, dict[str, float]]:
    """Return the figures of each format, by name."""
    subjects = entrants(dimension, only)
    decoded: dict[str, list[float]] = {name: [] for name in subjects}
    assembled: dict[str, list[float]] = {name: [] for name in subjects}
    for entrant in subjects.values():  # caches are full
        entrant.decode()
    gc.collect()
    gc.freeze()  # as the service does: what is there before the first record is not walked again
    events = dict.fromkeys(subjects, 0)
    for _ in range(rounds):
        for name, entrant in subjects.items():
            events[name], seconds = entrant.decode()
            decoded[name].append(events[name] / seconds)
            count, seconds = entrant.assemble()
            assembled[name].append(count / seconds)
    return {
        name: {
            "events_per_second": round(statistics.median(decoded[name])),
            "records_per_second": round(statistics.median(decoded[name]) / events[name] * len(entrant.records)),
            "megabytes_per_second": round(
                statistics.median(decoded[name]) / events[name] * sum(map(_size, entrant.records)) / 1e6, 1
            ),
            "ratio_to_native": _ratio(decoded[name], decoded[NATIVE]),
            "assembled_per_second": round(statistics.median(assembled[name])),
            "assembled_ratio": _ratio(assembled[name], assembled[NATIVE]),
        }
        for name, entrant in subjects.items()
    }


def _size(record: Record) -> int:
    return len(record.value) + sum(len(name) + len(value or b"") for name, value in record.headers)


def _ratio(rates: Sequence[float], native: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(rates, native, strict=True)), 3)


def show(found: dict[str, dict[str, float]]) -> None:
    """Print the figures as one table."""
    table = Table("format", "events/s", "records/s", "MB/s", "to native", "events/s, assembled", "to native")
    for name, figures in found.items():
        events, records, size, ratio, assembled, whole = figures.values()
        table.add_row(
            name, f"{events:,.0f}", f"{records:,.0f}", f"{size:,.1f}", f"{ratio:.2f}", f"{assembled:,.0f}", f"{whole:.2f}"
        )
    console.print(table)


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_formats", description="measure the formats of logs")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all formats (%(default)s)")
    parser.add_argument("--dimension", type=int, default=30, help="numbers of a query (%(default)s)")
    parser.add_argument("--only", metavar="FORMAT", help="this format and the native one")
    parser.add_argument("--out", type=Path, default=Path("bench-formats.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    found = measure(options.rounds, options.dimension, options.only)
    show(found)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
