"""How the service does on a real Kafka broker: speed, delay of decisions, restart, and several workers.

    python -m tests.bench.bench_kafka [--parts speed,latency,restore,workers] [--quick] [--out bench-kafka.json]

The broker runs on the same machine, unless one is named; then nothing else should use it. What counts are ratios within one
run, taken by turns.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numba
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from detector import distribution
from detector.baseline import store as baselines
from tests.bench.bench_pipeline import PACKAGES, machine, warmed
from tests.bench.kafka_latency import measure_latency
from tests.bench.kafka_restore import measure_restore
from tests.bench.kafka_speed import measure_speed
from tests.bench.kafka_workers import measure_workers
from tests.bench.subjects import fit
from tests.servers.kafka import VERSION, LocalBroker

PARTS = ("speed", "latency", "restore", "workers")
RATES = (2_000, 10_000)
STAGES = ("echo", "detect", "both")
DONORS = 100
CLIENTS = ("kafka-python", "confluent-kafka")
WAYS = ("kafka-python", "auto", "confluent")

console = Console(stderr=True)


def _versions() -> dict[str, str]:
    found = {"detector": distribution.VERSION, "kafka": VERSION}
    for name in (*PACKAGES, *CLIENTS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measure(options: argparse.Namespace, address: str, folder: Path, broker_process: int | None) -> dict[str, Any]:
    """Measure what is asked for."""
    baseline = fit(60, 100)
    baselines.save(baseline, folder / "baseline")
    donors = warmed(baseline, DONORS)
    found: dict[str, Any] = {"machine": machine(), "versions": _versions(), "settings": dict(vars(options), out=None)}
    found |= {part: [] for part in options.parts}
    if "speed" in options.parts:
        for client in options.clients:
            console.print(f"speed, {client} ...")
            found["speed"].append(
                measure_speed(
                    address,
                    folder,
                    donors,
                    clients=options.few,
                    events=options.events,
                    rounds=options.rounds,
                    partitions=options.partitions,
                    client=client,
                )
            )
    if "latency" in options.parts:
        for client in options.clients:
            for stages in options.stages:
                for rate in options.rates:
                    console.print(f"latency, {client}, {stages}, {rate:,}/s ...")
                    found["latency"].append(
                        measure_latency(
                            address,
                            folder,
                            broker_process,
                            donors,
                            clients=options.few,
                            rate=rate,
                            seconds=options.seconds,
                            partitions=options.partitions,
                            stages=stages,
                            client=client,
                        )
                    )
    if "restore" in options.parts:
        for client in options.clients:
            console.print(f"restore, {client} ...")
            found["restore"].append(
                measure_restore(
                    address, folder, donors, clients=options.many, partitions=options.partitions, client=client, ids=options.ids
                )
            )
    if "workers" in options.parts:
        for client in options.clients:
            console.print(f"workers, {client} ...")
            found["workers"].append(
                measure_workers(
                    address,
                    folder,
                    broker_process,
                    clients=options.few,
                    events=options.backlog,
                    partitions=max(options.partitions, 2),
                    client=client,
                )
            )
    return found


def show(found: dict[str, Any]) -> None:
    """Print the result as tables."""
    out = Console()
    for case in found.get("speed", ()):
        table = Table(title=f"through Kafka with {case['client']}, {case['clients']:,} clients, one process")
        for name in ("", "events/s", "µs/event", "CPU µs/event", "checkpoint s", "of decode (CPU)", "of decode (wall)"):
            table.add_column(name, justify="right" if name else "left")
        labels = {"consume": "consume", "decode": "consume, decode", "detect": "service, keyed", "both": "both stages"}
        for name, label in labels.items():
            own = case["subjects"][name]
            ratios = [case["ratios"].get(f"{name}_to_decode_{kind}") for kind in ("cpu", "wall")]
            table.add_row(
                label,
                f"{own['events_per_s']:,}",
                f"{own['wall_us']:.1f}",
                f"{own['cpu_us']:.1f}",
                f"{own['checkpoint_wall_s']:.3f}" if own["checkpoint_wall_s"] else "",
                *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            )
        out.print(table)
        out.print("Goal: the service at 0.55 times the speed of consuming and decoding.")
    if found.get("latency"):
        table = Table(title="from event to decision")
        for name in ("client", "stages", "events/s", "reached", "decisions", "p50 ms", "p90", "p99", "longest", "busy"):
            table.add_column(name, justify="right")
        for case in found["latency"]:
            table.add_row(
                case["client"],
                case["stages"],
                f"{case['rate']:,}",
                f"{case['rate_reached']:,}",
                f"{case['decisions']:,}",
                *(f"{case.get(name) or float('nan'):.1f}" for name in ("p50_ms", "p90_ms", "p99_ms", "max_ms")),
                ", ".join(f"{name} {share:.2f}" for name, share in case["busy"].items() if share is not None),
            )
        out.print(table)
        out.print("Goal: half of them within 10 ms, 99 of 100 within 50 ms. An echo is what the client and the broker take.")
    for case in found.get("restore", ()):
        out.print(
            f"Restore of {case['clients']:,} clients ({case['bytes'] / 1e6:,.0f} MB, {case['ids_per_client']} ids each) with "
            f"{case['client']}: {case['seconds']:.1f} s, {case['cpu_s']:.1f} CPU s (reading {case['read_s']:.1f} s, "
            f"{case['read_cpu_s']:.1f} CPU s; taking in {case['take_in_s']:.1f} s, {case['take_in_cpu_s']:.1f} CPU s); "
            "goal: 10 s."
        )
    for case in found.get("workers", ()):
        rates = ", ".join(
            f"{count} worker{'s' if count != '1' else ''} {each['events_per_s']:,} events/s (busy {each['busy_each']}, "
            f"broker {each['busy_broker']}, idle {each['idle_cores']}, {each['cpu_us_per_event']:.1f} CPU µs/event)"
            for count, each in case["workers"].items()
        )
        out.print(f"With {case['client']}: {rates}; ratio {case['ratio']:.2f} on {case['cores']} cores; goal: 1.8.")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    def words(given: str) -> list[str]:
        return [word for word in given.split(",") if word]

    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_kafka", description="measure the service on Kafka")
    parser.add_argument("--parts", type=words, default=list(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument("--clients", type=words, default=list(WAYS), help="[kafka] client (%(default)s)")
    parser.add_argument("--broker", help="address of a broker that runs already (default: one is started)")
    parser.add_argument("--partitions", type=int, default=4, help="of every topic (%(default)s)")
    parser.add_argument("--few", type=int, default=1000, help="clients, for speed, latency and workers (%(default)s)")
    parser.add_argument("--many", type=int, default=100_000, help="clients to restore (%(default)s)")
    parser.add_argument("--ids", type=int, help="event ids per client to restore (default: ten minutes at 10,000/s)")
    parser.add_argument("--events", type=int, default=50_000, help="events a round of speed (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of speed (%(default)s)")
    parser.add_argument("--rates", type=lambda given: [int(word) for word in words(given)], default=list(RATES))
    parser.add_argument("--stages", type=words, default=list(STAGES), help="for latency: echo, detect (keyed input), both")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each latency measurement (%(default)s)")
    parser.add_argument("--backlog", type=int, default=400_000, help="events for the workers (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, a minute or two")
    parser.add_argument("--out", type=Path, default=Path("bench-kafka.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    for what, asked, known in (("parts", options.parts, PARTS), ("stages", options.stages, STAGES)):
        if wrong := set(asked) - set(known):
            parser.error(f"there are no {what} {', '.join(sorted(wrong))}; there are {', '.join(known)}")
    if options.quick:
        options.events, options.rounds, options.many = 20_000, 3, 20_000
        options.seconds, options.backlog = 10.0, 150_000
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    options = _options(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # also for the processes that are started
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    numba.set_num_threads(1)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(limits=1))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detector-bench-")))
        address, process = options.broker, None
        if address is None:
            broker = stack.enter_context(LocalBroker(tell=console.print))
            address, process = broker.bootstrap, broker.process_id
        found = measure(options, address, folder, process)
    show(found)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
