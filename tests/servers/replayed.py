"""What a replay of the demo's log finds with its clients spread over as many shards as the topics have partitions.

Novelty goes on learning from the innocent clients of its own shard. So a service with several partitions may find a client
novel some queries earlier or later than the demo, which has one shard. It must find what a replay over as many shards finds.
"""

from pathlib import Path

from detector.config import load
from detector.offline import replay as replaying

__all__ = ["PARTITIONS", "replayed"]

PARTITIONS = 3


def replayed(folder: Path, name: str) -> list[bytes]:
    """Return the lines of a file of results, ``alerts.jsonl`` for one, from a replay of the demo that lies in `folder`."""
    config, out = load(folder / "detector.toml"), folder / "replayed"
    baseline = replaying.load_baseline(config)
    replaying.replay([str(folder / "log.jsonl")], out, config, baseline, partitions=PARTITIONS)
    return (out / name).read_bytes().splitlines()
