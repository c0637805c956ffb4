"""How fast the service is, how much memory a client takes, and what a long history costs.

    python -m tests.bench.bench_pipeline [--quick] [--out bench.json]

Machines differ, so what counts are ratios, and their two sides are timed in turn: every round times each subject on fresh
events, in one process with one thread, by processor time, and a ratio is the median over the rounds of the ratio within a
round. Clients of the whole pipeline begin with full memories (64 anchors, 100 distances), also where there are 100,000 of
them: they are restored from the snapshots of clients who got there by their own queries. The naive pipeline is timed on a few
clients with full windows, PRADA on one client.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from detector.baseline.store import Baseline
from detector.distribution import VERSION
from tests.bench.bench_log import KINDS, make_log
from tests.bench.subjects import BATCH, DecodeToArrays, Ingest, Naive, PradaAlone, Saved, Whole, fit, questions

WARM = 150  # queries that fill a client's memories
ZIPF = 1.1
SMALL_BATCH = 100
WIDER = 5  # wide inputs are measured with so many times fewer clients and events, since they take as many times longer
PACKAGES = ("numpy", "numba", "msgspec", "pydantic", "river", "scikit-learn", "scipy", "orjson")

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: clients in the small and in the large case, rounds, and events a round."""

    few: int = 1000
    many: int = 100_000
    rounds: int = 11
    events: int = 10_000
    naive_clients: int = 16
    naive_events: int = 200
    prada_history: int = 1000
    prada_events: int = 50
    short: int = 100
    long: int = 50_000
    history_clients: int = 20
    baseline_clients: int = 60
    baseline_queries: int = 100


QUICK = Size(few=300, many=20_000, rounds=5, events=5000, naive_clients=6, naive_events=100, prada_history=500)


def resident_bytes() -> int | None:
    """Return the memory this process holds, or None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes of the processor: it never waits, and other programs do not count."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def warmed(baseline: Baseline, clients: int, kind: str = "table") -> Saved:
    """Return snapshots of clients whose memories are full."""
    whole = Whole(baseline)
    step = 20_000
    for first in range(0, WARM * clients, step):
        whole(make_log(min(step, WARM * clients - first), clients, first=first, kind=kind, seed=2))
    return whole.save()


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What does not depend on the number of clients, warm."""

    naive: Naive
    prada: PradaAlone

    @classmethod
    def warm(cls, size: Size) -> "Alternatives":
        """Fill the windows of the naive pipeline's clients, and give PRADA its history."""
        naive, prada = Naive(), PradaAlone()
        naive(make_log(WARM * size.naive_clients, size.naive_clients, seed=3))
        prada(questions(make_log(size.prada_history, 1, seed=4)))
        return cls(naive, prada)


def measure_speed(
    baseline: Baseline, donors: Saved, others: Alternatives, size: Size, clients: int, zipf: float | None
) -> dict[str, Any]:
    """Time all subjects in turn; returns medians per subject, ratios, and the memory that the clients took."""
    decode, small, ingest = DecodeToArrays(), DecodeToArrays(SMALL_BATCH), Ingest()
    gc.collect()
    before = resident_bytes()
    whole = Whole(baseline)
    whole.restore(donors, clients)
    gc.collect()
    after = resident_bytes()
    gc.freeze()
    seconds: dict[str, list[float]] = {name: [] for name in ("decode", "decode_small", "ingest", "whole", "naive", "prada")}
    first = WARM * max(size.few, size.naive_clients)
    for turn in range(-1, size.rounds):  # the first round only warms caches
        lines = make_log(size.events, clients, first=first, zipf=zipf, seed=100 + turn)
        own = make_log(size.naive_events, size.naive_clients, first=first, seed=200 + turn)
        asked = questions(make_log(size.prada_events, 1, seed=300 + turn))
        first += size.events
        work: list[tuple[str, Callable[[], object], int]] = [
            ("decode", lambda lines=lines: decode(lines), len(lines)),  # type: ignore[misc]
            ("decode_small", lambda lines=lines: small(lines), len(lines)),  # type: ignore[misc]
            ("ingest", lambda lines=lines: ingest(lines), len(lines)),  # type: ignore[misc]
            ("whole", lambda lines=lines: whole(lines), len(lines)),  # type: ignore[misc]
            ("naive", lambda own=own: others.naive(own), len(own)),  # type: ignore[misc]
            ("prada", lambda asked=asked: others.prada(asked), len(asked)),  # type: ignore[misc]
        ]
        turned = turn % len(work)
        for name, run, events in work[turned:] + work[:turned]:
            taken = timed(run) / events
            if turn >= 0:
                seconds[name].append(taken)
    if whole.counted != (size.rounds + 1) * size.events:
        raise RuntimeError(f"{whole.counted} events were counted of {(size.rounds + 1) * size.events}")
    gc.unfreeze()

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))

    return {
        "clients": clients,
        "traffic": f"zipf {zipf}" if zipf else "uniform",
        "documents": whole.documents.count,
        "subjects": {
            name: {
                "events_per_s": round(1.0 / statistics.median(each)),
                "us_per_event": round(1e6 * statistics.median(each), 3),
                "us_per_event_range": [round(1e6 * min(each), 3), round(1e6 * max(each), 3)],
            }
            for name, each in seconds.items()
        },
        "ratios": {
            "whole_to_decode": round(ratio("decode", "whole"), 4),
            "whole_to_decode_small": round(ratio("decode_small", "whole"), 4),
            "ingest_to_decode": round(ratio("decode", "ingest"), 4),
            "whole_to_naive": round(ratio("naive", "whole"), 2),
            "whole_to_prada": round(ratio("prada", "whole"), 2),
        },
        "bytes_per_client": {
            "columns": whole.bytes_per_client,
            "resident": None if before is None or after is None else round((after - before) / clients),
            "per_remembered_id": round(whole.bytes_per_id, 1),
        },
    }


def measure_kind(kind: str, size: Size) -> dict[str, Any]:
    """Time decoding and the whole pipeline in turn on inputs of one kind, with a baseline of its own; a few clients only."""
    baseline = fit(size.baseline_clients, size.baseline_queries, kind)
    decode, whole = DecodeToArrays(), Whole(baseline)
    clients = max(1, size.few // WIDER)
    whole.restore(warmed(baseline, clients, kind), clients)
    taken: dict[str, list[float]] = {"decode": [], "whole": []}
    first = WARM * clients
    for turn in range(-1, size.rounds):
        lines = make_log(size.events // WIDER, clients, first=first, kind=kind, seed=600 + turn)
        first += len(lines)
        for name, work in (("decode", decode), ("whole", whole))[:: 1 if turn % 2 else -1]:
            seconds = timed(lambda work=work: work(lines)) / len(lines)  # type: ignore[misc]  # noqa: B023
            if turn >= 0:
                taken[name].append(seconds)
    return {
        "kind": kind,
        "clients": clients,
        "event_bytes": len(lines[0]),
        "us_per_event": {name: round(1e6 * statistics.median(each), 3) for name, each in taken.items()},
        "whole_to_decode": round(statistics.median(a / b for a, b in zip(taken["decode"], taken["whole"], strict=True)), 4),
        "bytes_per_client": whole.bytes_per_client,
    }


def measure_history(baseline: Baseline, size: Size) -> dict[str, Any]:
    """Time queries of clients with a short and with a long history, the same number of clients and the same batches."""
    grown = Whole(baseline)
    saved = {}
    first = 0
    for stop in (size.short, size.long):
        while first < stop:
            step = min(20_000, stop - first)
            grown(make_log(step, 1, first=first, seed=5))
            first += step
        saved[stop] = grown.save()
    wholes = {stop: Whole(baseline) for stop in saved}
    seconds: dict[int, list[float]] = {stop: [] for stop in saved}
    for turn in range(-1, 3 * size.rounds):
        lines = make_log(BATCH, size.history_clients, first=size.long + 1000 * (turn + 2), seed=400 + turn)
        for stop in list(saved)[:: 1 if turn % 2 else -1]:
            if turn <= 0:
                wholes[stop] = Whole(baseline)
            wholes[stop].restore(saved[stop], size.history_clients)
            taken = timed(lambda whole=wholes[stop]: whole(lines)) / BATCH  # type: ignore[misc]  # noqa: B023
            if turn >= 0:
                seconds[stop].append(taken)
    short, long = seconds[size.short], seconds[size.long]
    return {
        "queries": [size.short, size.long],
        "us_per_event": [round(1e6 * statistics.median(each), 3) for each in (short, long)],
        "ratio": round(statistics.median(b / a for a, b in zip(short, long, strict=True)), 3),
    }


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    model = platform.processor()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [line for line in about.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def measure(size: Size) -> dict[str, Any]:
    """Measure everything; a few minutes at full size."""
    console.print("fitting a baseline, filling memories ...")
    baseline = fit(size.baseline_clients, size.baseline_queries)
    donors = warmed(baseline, size.few)
    others = Alternatives.warm(size)
    cases = []
    for clients in (size.few, size.many):
        for zipf in (None, ZIPF):
            console.print(f"{clients:,} clients, {f'zipf {zipf}' if zipf else 'uniform'} ...")
            cases.append(measure_speed(baseline, donors, others, size, clients, zipf))
    kinds = []
    for kind in list(KINDS)[1:]:
        console.print(f"inputs of another kind: {kind} ...")
        kinds.append(measure_kind(kind, size))
    console.print("history ...")
    return {
        "machine": machine(),
        "versions": {"detector": VERSION} | {name: version(name) for name in PACKAGES},
        "settings": asdict(size) | {"batch": BATCH, "warm": WARM, "event_bytes": len(make_log(1, 1)[0]), "threads": 1},
        "cases": cases,
        "kinds": kinds,
        "history": measure_history(baseline, size),
    }


def show(found: dict[str, Any]) -> None:
    """Print the result as a table."""
    cases = found["cases"]
    table = Table(title="events per second, one thread")
    table.add_column("")
    for case in cases:
        table.add_column(f"{case['clients']:,} clients\n{case['traffic']}", justify="right")
    table.add_column("target", justify="right")
    labels = {
        "decode": "decode to arrays",
        "decode_small": f"decode, {SMALL_BATCH} at a time",
        "ingest": "ingest",
        "whole": "whole pipeline",
        "naive": "naive pipeline",
        "prada": "PRADA, one client",
    }
    for name, label in labels.items():
        cells = [f"{case['subjects'][name]['events_per_s']:,}" for case in cases]
        table.add_row(label, *cells)
    table.add_section()
    for name, label, target, form in (
        ("whole_to_decode", "whole / decode", "0.55", "{:.2f}"),
        ("whole_to_decode_small", f"whole / decode, {SMALL_BATCH} at a time", "", "{:.2f}"),
        ("ingest_to_decode", "ingest / decode", "", "{:.2f}"),
        ("whole_to_naive", "whole / naive", "25", "{:.0f}"),
        ("whole_to_prada", "whole / PRADA", "", "{:.1f}"),
    ):
        table.add_row(label, *(form.format(case["ratios"][name]) for case in cases), target)
    table.add_section()
    # Few clients fit into memory that was used and freed before, so there the difference says nothing.
    most = max(case["clients"] for case in cases)
    for name, label in (("columns", "bytes per client, columns"), ("resident", "bytes per client, resident")):
        cells = [f"{case['bytes_per_client'][name] or 0:,}" if case["clients"] == most else "" for case in cases]
        table.add_row(label, *cells, "10,000")
    out = Console()
    out.print(table)
    for own in found["kinds"]:
        out.print(
            f"With {own['kind']} inputs of {own['event_bytes']:,} bytes an event: whole / decode {own['whole_to_decode']:.2f}, "
            f"{own['us_per_event']['whole']:.1f} us, {own['bytes_per_client']:,} bytes a client."
        )
    history = found["history"]
    short, long = history["queries"]
    out.print(f"A query after {long:,} costs {history['ratio']:.2f} times a query after {short:,} (target: at most 1.1).")


def main(arguments: list[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_pipeline", description="measure the pipeline")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, under a minute")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    numba.set_num_threads(1)
    with threadpool_limits(limits=1):
        found = measure(QUICK if options.quick else Size())
    found["quick"] = options.quick
    show(found)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
