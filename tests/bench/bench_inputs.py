"""How fast inputs of each kind are decoded from the native format, beside plain vectors, and how long a baseline takes.

    python -m tests.bench.bench_inputs [--rounds N] [--fit] [--out bench-inputs.json]

The inputs are those of `tests.serving`: census records of 14 columns by name (and the same records as vectors), prompts, and
PNG files of 28x28 pixels. Each round decodes every kind in turn, in one process and by processor time, and a ratio is the
median over the rounds of events a second over those of vectors in the same round. With ``--fit`` a baseline is fitted on each.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from detector.baseline.texts import with_reductions
from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.ingest.formats.decoder import Decoder, Record, several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.learning import SchemaLearner
from detector.offline.replay import fit
from detector.redteam.play import START_MS
from detector.redteam.victim import digits_victim
from tests.serving.pictures import png
from tests.serving.prompts import SYSTEM, independent
from tests.serving.tables import census

EVENTS = 2000
CLIENTS = 40


def inputs() -> dict[str, Iterator[dict[str, Any]]]:
    """Return the inputs by kind; those of the first kind are what the others are compared with."""
    rng = np.random.default_rng(0)
    known, digits = census(), digits_victim(3).training.vectors
    return {
        "vector": ({"vector": known.rows[at % len(known.rows)].tolist()} for at in range(EVENTS)),
        "columns": ({"columns": known.record(known.rows[at % len(known.rows)], rng)} for at in range(EVENTS)),
        "text": ({"text": f"{SYSTEM}\n{text}"} for text in independent(rng)),
        "image": ({"image_b64": png(digits[at % len(digits)])} for at in range(EVENTS)),
    }


def lines(kind: str, entries: Iterator[Mapping[str, Any]]) -> list[bytes]:
    """Return native records of inputs."""
    return [
        json.dumps(
            {
                "event_id": f"{kind}-{at}",
                "time": rfc3339(START_MS + at * 1000),
                "client": {"id": f"c{at % CLIENTS}"},
                "model": {"id": kind},
                "input": entry,
                "output": {"label": at % 2},
            }
        ).encode()
        for at, entry in enumerate(islice(entries, EVENTS))
    ]


def learned(records: list[bytes], config: Config) -> Decoder:
    """Return a decoder that knows what a baseline fitted on the records would know."""
    learner = SchemaLearner()
    decoder = decoder_of_files(config, learner=learner)
    for record in records:
        decoder.decode(Record(record))
    return decoder_of_files(config, with_reductions(learner.schemas(), learner.texts()))


def rate(decoder: Decoder, records: list[bytes]) -> float:
    """Return events a second."""
    started = time.process_time()
    events = sum(isinstance(one, DecodedEvent) for record in records for one in several(decoder.decode(Record(record))))
    return events / (time.process_time() - started)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return, by kind, events a second and the ratio to vectors; ``text, hashed`` is what there is without a baseline."""
    config = Config()
    logs = {kind: lines(kind, entries) for kind, entries in inputs().items()}
    subjects = {kind: (learned(records, config), records) for kind, records in logs.items()}
    subjects["text, hashed"] = (decoder_of_files(config), logs["text"])
    seen: dict[str, list[float]] = {kind: [] for kind in subjects}
    for _ in range(rounds):
        for kind, (decoder, records) in subjects.items():
            seen[kind].append(rate(decoder, records))
    return {
        kind: {
            "events_per_second": round(statistics.median(rates)),
            "ratio": round(statistics.median(own / plain for own, plain in zip(rates, seen["vector"], strict=True)), 4),
        }
        for kind, rates in seen.items()
    }


def fits() -> dict[str, float]:
    """Return the processor time of fitting a baseline on each kind, in seconds; the first fit, which compiles, is left out."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, entries in [("vector", inputs()["vector"]), *inputs().items()]:
            log = Path(folder) / f"{kind}.jsonl"
            log.write_bytes(b"\n".join(lines(kind, entries)))
            started = time.process_time()
            fit([str(log)], Config())
            found[kind] = round(time.process_time() - started, 2)
    return found


def main() -> int:
    """Print the figures as JSON, or write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fit", action="store_true", help="also fit a baseline on each kind")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"decoding": measure(options.rounds)}
    if options.fit:
        found["fit_seconds"] = fits()
    text = json.dumps(found, indent=2) + "\n"
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
