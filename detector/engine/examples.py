"""Examples: the ids of the latest queries that showed each kind of evidence, for the reports of a client."""

from collections import deque
from collections.abc import Mapping, Sequence

EXAMPLES = 5


class Examples:
    """At most `EXAMPLES` ids for each client's slot and place of evidence (see `state.PLACES`), newest last."""

    def __init__(self) -> None:
        self._ids: dict[int, dict[int, deque[str]]] = {}

    def add(self, slot: int, place: int, event_id: str) -> None:
        """Keep an id; it replaces the oldest of its kind once there are `EXAMPLES`."""
        self._ids.setdefault(slot, {}).setdefault(place, deque(maxlen=EXAMPLES)).append(event_id)

    def of(self, slot: int) -> Mapping[int, Sequence[str]]:
        """Return the ids of a client by place of evidence."""
        return self._ids.get(slot, {})

    def replace(self, slot: int, examples: Mapping[int, Sequence[str]]) -> None:
        """Replace the ids of a client by those of its snapshot."""
        self.drop(slot)
        if examples:
            self._ids[slot] = {place: deque(ids, maxlen=EXAMPLES) for place, ids in examples.items()}

    def drop(self, slot: int) -> None:
        """Forget the ids of a client that leaves."""
        self._ids.pop(slot, None)

    def __len__(self) -> int:
        """Return how many ids are kept, over all clients."""
        return sum(len(ids) for kept in self._ids.values() for ids in kept.values())
