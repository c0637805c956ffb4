"""Sketches drawn at random, as detection would write them, and a search for links that tells what it was given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from detector.engine.findings import Outputs
from detector.engine.links.sketch import Sketches
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.policy import PolicySettings
from detector.ingest.batch import Sender
from detector.service.kafka.sketches import PlacedSketches

SOURCE = bytes(range(16))
BEGIN = 1_700_000_000_000


def sketches(n: int, *, seed: int = 0, model: str = "m", name: str = "e") -> Sketches:
    """Return n sketches, one event a second."""
    rng = np.random.default_rng(seed)
    return Sketches(
        model=model,
        sequence=np.arange(n),
        time=BEGIN + 1000 * np.arange(n),
        account=[f"client-{number}" for number in rng.integers(0, 5, n).tolist()],
        event_id=[f"{name}-{number}" for number in range(n)],
        sender=[Sender(ip=f"192.0.2.{number}", trusted=True) for number in rng.integers(0, 3, n).tolist()],
        version=[None if number else "v1" for number in rng.integers(0, 2, n).tolist()],
        z=rng.integers(-1000, 1000, (n, COORDINATES)).astype(np.int16),
        c=rng.integers(0, 256, (n, SAMPLED)).astype(np.uint8),
        total=rng.integers(0, 2**32, n).astype(np.uint32),
        weighed=rng.integers(0, 2**32, n).astype(np.uint32),
        content=rng.integers(0, 2**63, n).astype(np.uint64),
        label=rng.integers(-5, 5, n).astype(np.int32),
        confidence=rng.random(n).astype(np.float32),
        runner_up=np.full(n, np.nan, np.float32),
        perturbed=np.zeros(n, np.uint8),
    )


def placed(
    found: Sketches, partition: int, written: Sequence[int], *, first: int = 0, source: bytes = SOURCE
) -> PlacedSketches:
    """Return sketches as those of consecutive records of a partition, written at these times after `BEGIN`."""
    n = len(found)
    offset = np.arange(first, first + n)
    return PlacedSketches(found, source, partition, "ref", offset, np.zeros(n, np.int64), BEGIN + np.array(written, np.int64))


@dataclass
class Recorder:
    """Remembers the events that it was given, in their order; its state is that list."""

    model: str
    seen: list[str] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)
    policies: list[PolicySettings] = field(default_factory=list)

    def process(self, found: Sketches) -> Outputs:
        """Remember them."""
        self.seen += found.event_id
        self.sequence += found.sequence.tolist()
        return Outputs(repeated=len(found))

    def snapshot(self) -> bytes:
        """Return the events."""
        return "\n".join(self.seen).encode()

    def restore(self, saved: bytes) -> None:
        """Take them back."""
        self.seen = saved.decode().split("\n") if saved else []

    def leads(self) -> dict[str, float]:
        """Return no organisation."""
        return {}

    def adopt(self, policy: PolicySettings) -> None:
        """Remember it."""
        self.policies.append(policy)


def cut(found: PlacedSketches, sizes: Iterator[int]) -> Iterator[PlacedSketches]:
    """Yield sketches in runs of these sizes."""
    begin = 0
    while begin < len(found):
        end = min(begin + next(sizes), len(found))
        yield found.take(np.arange(begin, end))
        begin = end
