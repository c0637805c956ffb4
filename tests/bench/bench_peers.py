"""How fast other stream processors do a trivial job, beside this one's whole work: counting the queries of each client.

    python -m tests.bench.bench_peers [--peers PYTHON] [--quick] [--out bench-peers.json]

bytewax and quixstreams are asked, by the interpreter PYTHON, which may have an environment of its own, since quixstreams wants
versions of its own. What is not installed there is left out and said. The trivial job decodes a record and counts; nothing is
checked. The whole pipeline checks, remembers and scores every event. All take the same lines by turns, in processor time of
all their threads, and a ratio is the median over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numba
import orjson
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from detector.baseline.store import Baseline
from tests.bench.bench_log import make_log
from tests.bench.bench_pipeline import machine, warmed
from tests.bench.subjects import DecodeToArrays, Whole, fit
from tests.servers.kafka import LocalBroker

PROGRAM = Path(__file__).with_name("counting.py")
PATIENCE_S = 600.0
PEERS = {"bytewax": ("bytewax",), "consume": ("confluent_kafka",), "quixstreams": ("quixstreams", "confluent_kafka")}
LABELS = {
    "decode": "decode to arrays",
    "loop": "decode and count, a plain loop",
    "bytewax": "bytewax: the same, state that can be recovered",
    "consume": "the plain loop over a topic, librdkafka",
    "quixstreams": "quixstreams: the same, state on disk and in a changelog",
    "whole": "the whole pipeline of this project, no topic",
}

console = Console(stderr=True)


class PlainLoop:
    """The trivial job as a loop."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, lines: Sequence[bytes]) -> None:
        counts = self.counts
        for line in lines:
            counts[orjson.loads(line)["client"]["id"]] += 1


def missing(python: str, peer: str) -> str | None:
    """Return why this interpreter cannot run a peer, None if it can."""
    asked = f"import {', '.join((*PEERS[peer], 'orjson'))}"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def count_with(python: str, peer: str, lines: Sequence[bytes], broker: str | None) -> float:
    """Let a peer count; returns its seconds an event. RuntimeError where its counts are not those of the log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        log.write_bytes(b"\n".join(lines))
        command = [python, str(PROGRAM), peer, str(log), *(["--broker", broker] if broker else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} ended with status {done.returncode}: {done.stderr.strip()[-400:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    own = PlainLoop()
    own(lines)
    if said["counts"] != dict(own.counts):
        raise RuntimeError(f"{peer} counted {sum(said['counts'].values())} events, not the log's {len(lines)}")
    return float(said["cpu_s"]) / len(lines)


def _spent(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(options: argparse.Namespace, baseline: Baseline, broker: str) -> dict[str, Any]:
    """Time all that can be had by turns; the first round only warms up."""
    absent = {peer: why for peer in PEERS if (why := missing(options.peers, peer)) is not None}
    whole, decode, loop = Whole(baseline), DecodeToArrays(), PlainLoop()
    whole.restore(warmed(baseline, options.clients), options.clients)
    seconds: dict[str, list[float]] = {name: [] for name in LABELS if name not in absent}
    first = 150 * options.clients
    for turn in range(-1, options.rounds):
        console.print(f"round {turn + 1} of {options.rounds} ..." if turn >= 0 else "warming up ...")
        lines = make_log(options.events, options.clients, first=first, seed=100 + turn)
        first += options.events
        taken = {
            name: _spent(lambda work=work: work(lines)) / len(lines)  # type: ignore[misc]  # noqa: B023
            for name, work in (("decode", decode), ("loop", loop), ("whole", whole))
        }
        taken |= {
            peer: count_with(options.peers, peer, lines, None if peer == "bytewax" else broker)
            for peer in PEERS
            if peer not in absent
        }
        if turn >= 0:
            for name, each in seconds.items():
                each.append(taken[name])
    return {
        "machine": machine(),
        "settings": {"clients": options.clients, "events": options.events, "rounds": options.rounds},
        "absent": absent,
        "us_per_event": {name: round(1e6 * statistics.median(each), 2) for name, each in seconds.items()},
        "of_decode": {
            name: round(statistics.median(a / b for a, b in zip(each, seconds["decode"], strict=True)), 2)
            for name, each in seconds.items()
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the result as a table."""
    table = Table(title="processor time an event")
    for name in ("", "µs", "times decoding"):
        table.add_column(name, justify="right" if name else "left")
    for name, label in LABELS.items():
        if name in found["us_per_event"]:
            table.add_row(label, f"{found['us_per_event'][name]:.1f}", f"{found['of_decode'][name]:.2f}")
        else:
            table.add_row(label, "not measured", found["absent"][name])
    Console().print(table)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_peers", description="other stream processors")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter with bytewax and quixstreams")
    parser.add_argument("--broker", help="address of a Kafka broker that runs already (default: one is started)")
    parser.add_argument("--clients", type=int, default=300, help="clients in the log (%(default)s)")
    parser.add_argument("--events", type=int, default=50_000, help="events a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, a minute or two")
    parser.add_argument("--out", type=Path, default=Path("bench-peers.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.events, options.rounds = 20_000, 3
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    options = _options(arguments)
    numba.set_num_threads(1)
    with ExitStack() as stack, threadpool_limits(limits=1):
        broker = options.broker
        if broker is None:
            broker = stack.enter_context(LocalBroker(tell=console.print)).bootstrap
        found = measure(options, fit(60, 100), broker)
    found["quick"] = options.quick
    show(found)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
