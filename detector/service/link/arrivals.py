"""How far the partitions of the queries topic have come, and so which sketches may be taken in turn.

The order of the stream is the order in which the queries were written to their topic: by the time of each record, then by event
time, partition and offset. A sketch waits until every partition has told that all it held by then, and `SLACK_MS` longer, is
processed. What is taken in turn then depends on the queries topic alone: not on the workers that have its partitions, not on
restarts, and not on how the sketches of several partitions arrived between each other.

Nothing waits for ever. All limits are in the time of the sketches topic, which is that of its records, so they hold alike when
the same records are read again:

- a partition of which nothing new is heard for the patience is passed over until it is heard of again. The patience covers the
  session of a worker that has died, and the restore by another;
- a sketch that has waited twice as long is taken, whoever is behind;
- a time of writing more than `AHEAD_MS` ahead counts as that: a single wrong one puts sketches out of order for so long, not
  for ever.

What is not guaranteed: where a limit has passed, where the clocks of those who write to the queries topic differ by more than
`SLACK_MS`, or where a record reached that topic later than that after its time, sketches come *late*. They are not lost: they
are taken with the next progress, and counted. With several ingest workers the order is that in which they wrote, which follows
the time of the log as closely as they keep in step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from detector.errors import SnapshotError
from detector.service.kafka.sketches import Progress

SLACK_MS = 1000
AHEAD_MS = 600_000  # of the sketches topic, that the clock of who writes to the queries topic may be
PATIENCE_MS = 75_000  # unless told: a session of 45 seconds, and a restore
NEVER = -1


class Arrivals:
    """What is known of the partitions, from the records of one partition of the sketches topic."""

    def __init__(self, patience_ms: int = PATIENCE_MS) -> None:
        self._patience_ms = patience_ms
        self.now = 0  # the time of the sketches topic
        self._begun = NEVER
        self._partitions = 0
        self._reached: dict[int, int] = {}
        self._heard: dict[int, int] = {}

    def tick(self, moment: int) -> None:
        """Note the time of the next record of the sketches topic."""
        self.now = max(self.now, moment)
        if self._begun == NEVER:
            self._begun = self.now

    def hear(self, partition: int, reached: int) -> None:
        """Note that everything written to a partition until `reached` was processed; a time far ahead is a wrong clock."""
        reached = min(reached, self.now + AHEAD_MS)
        if reached > self._reached.get(partition, NEVER):
            self._reached[partition] = reached
            self._heard[partition] = self.now

    def note(self, progress: Progress) -> None:
        """Note the progress that a worker told."""
        self._partitions = progress.partitions
        for partition, reached in progress.reached.items():
            self.hear(partition, reached)

    @property
    def longest_wait(self) -> int:
        """Sketches that came before this time are taken, whoever is behind."""
        return self.now - 2 * self._patience_ms

    @property
    def passed_over(self) -> list[int]:
        """The partitions that are not waited for."""
        return [partition for partition in range(self._partitions) if not self._waited_for(partition)]

    def _waited_for(self, partition: int) -> bool:
        return self.now - self._heard.get(partition, self._begun) <= self._patience_ms

    def complete(self) -> int:
        """Return up to when all that was written, to any partition, was processed; -1 where that is not known."""
        known = min((self._reached.get(partition, NEVER) for partition in range(self._partitions)), default=NEVER)
        return max(known - SLACK_MS, NEVER)

    def due(self) -> int:
        """Return the same of the partitions that are waited for: up to when sketches may be taken."""
        waited = [self._reached.get(place, NEVER) for place in range(self._partitions) if self._waited_for(place)]
        if not waited:
            return max(self._reached.values(), default=NEVER) if self._partitions else NEVER
        return max(min(waited) - SLACK_MS, NEVER)

    def state(self) -> dict[str, Any]:
        """Return it as plain data."""
        places = [[place, reached, self._heard[place]] for place, reached in sorted(self._reached.items())]
        return {"now": self.now, "begun": self._begun, "partitions": self._partitions, "places": places}

    @classmethod
    def restored(cls, state: Mapping[str, Any], patience_ms: int = PATIENCE_MS) -> "Arrivals":
        """Return what `state` told of; raises `SnapshotError` where it is damaged."""
        found = cls(patience_ms)
        try:
            found.now, found._begun, found._partitions = (int(state[name]) for name in ("now", "begun", "partitions"))
            for place, reached, heard in _triples(state["places"]):
                found._reached[place], found._heard[place] = reached, heard
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"the saved progress of partitions is damaged: {error!r}") from error
        return found


def _triples(places: Any) -> Iterator[tuple[int, int, int]]:
    for place, reached, heard in places:
        yield int(place), int(reached), int(heard)
