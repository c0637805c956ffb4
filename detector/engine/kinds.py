"""New kinds of clients: who is unlike every known client without learning more of the model than usual.

They are no threat by what they do, so nothing is decided about them. But the baseline does not describe them, and a person may
want to accept them (`baseline accept`). Clients of one kind deviate in the same features from the same profile, so each kind is
noted once, with a few clients as examples. This is a notice for a log line: it is not saved, and starts anew with each process.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from detector.engine.findings import Unfamiliar

MOST_KINDS = 64  # kinds that are noted; whoever makes up more of them cannot fill the memory
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of client: the nearest known `profile`, the `features` that deviate, and ids of the first `clients` of it."""

    profile: int
    features: tuple[str, ...]
    clients: tuple[str, ...]

    def tell(self) -> str:
        """Return one sentence for people."""
        return (
            f"the baseline does not know this kind of client: next to profile {self.profile}, but {', '.join(self.features)} "
            "the usual range; it learns no more than others, so nothing is decided. If it will stay, use baseline accept"
        )


class Kinds:
    """The new kinds of clients that one process has met on a model."""

    def __init__(self) -> None:
        self._clients: dict[tuple[int, tuple[str, ...]], list[str]] = {}

    def add(self, found: Unfamiliar, client: str) -> None:
        """Note a client of a kind."""
        key = (found.profile, found.features)
        if key not in self._clients and len(self._clients) >= MOST_KINDS:
            return
        clients = self._clients.setdefault(key, [])
        if client not in clients and len(clients) < EXAMPLES:
            clients.append(client)

    def __iter__(self) -> Iterator[Kind]:
        """Yield the kinds in the order in which they were met."""
        for (profile, features), clients in self._clients.items():
            yield Kind(profile, features, tuple(clients))
