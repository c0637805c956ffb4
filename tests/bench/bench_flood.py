"""What new clients cost beside known ones: processor time per event, as ratios taken in one run.

``python -m tests.bench.bench_flood`` prints them for a table with room for everybody, and for one where new clients push others
out. With room the rows have to be made, too; that is in the figure.
"""

import time

import numpy as np

from detector.engine.shard import EngineSettings, Shard
from detector.ingest.batch import Batch
from detector.testing import Events, batches

DIMENSION = 12
SIZE = 1000  # events of a batch
ROUNDS = 20


def _batches(names: list[list[str]], first: int) -> list[Batch]:
    rng = np.random.default_rng(first)
    events = Events("m", start_ms=1_777_890_600_000 + first)
    found = []
    for number, clients in enumerate(names):
        lines = [events.line(client, rng.random(DIMENSION), int(rng.integers(2))) for client in clients]
        found += batches(lines, first_sequence=first + number * SIZE)
    return found


def _cost(shard: Shard, taken: list[Batch]) -> float:
    """Return microseconds of processor time per event."""
    started = time.process_time()
    for batch in taken:
        shard.process(batch)
    return 1e6 * (time.process_time() - started) / sum(map(len, taken))


def measure(max_clients: int) -> tuple[float, float]:
    """Return what an event of a known and of a new client costs where so many clients have room."""
    shard = Shard(EngineSettings(learning_events=512, max_clients=max_clients))
    held = min(max_clients, 5 * SIZE)
    crowd = [[f"known-{(i * SIZE + j) % held}" for j in range(SIZE)] for i in range(ROUNDS)]
    flood = [[f"new-{i * SIZE + j}" for j in range(SIZE)] for i in range(4 * ROUNDS)]
    for batch in _batches(crowd, 0):  # until everybody is known, and every kernel compiled
        shard.process(batch)
    known = _cost(shard, _batches(crowd, 10_000_000))
    return known, _cost(shard, _batches(flood, 20_000_000))


def main() -> None:
    """Print the table."""
    print("| room for clients | known, us | new, us | ratio |\n|---:|---:|---:|---:|")  # noqa: T201
    for max_clients in (100_000, 5_000):
        known, new = measure(max_clients)
        print(f"| {max_clients:,} | {known:.1f} | {new:.1f} | {new / known:.1f} |")  # noqa: T201


if __name__ == "__main__":
    main()
