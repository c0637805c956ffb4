"""Bounded memory for what is counted of names that callers choose."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

__all__ = ["MOST_KEYS", "MOST_NAMES", "Distinct", "Table"]

MOST_KEYS: Final = 50_000
"""Clients, or networks, of which a table keeps something."""

MOST_NAMES: Final = 200_000
"""Names that are counted exactly; about 20 bytes each."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Table(Generic[K, V]):
    """A value for each key, of the keys seen last; `evicted` counts those that made room.

    >>> table = Table(list, most=2)
    >>> for key in "abac":
    ...     table[key].append(key)
    >>> dict(table.items()), table.evicted
    ({'a': ['a', 'a'], 'c': ['c']}, 1)
    """

    def __init__(self, make: Callable[[], V], most: int = MOST_KEYS) -> None:
        """Make the value of a new key by `make`."""
        self._make = make
        self._most = most
        self._rows: OrderedDict[K, V] = OrderedDict()
        self.evicted = 0

    def __getitem__(self, key: K) -> V:
        """Return the value of a key, which is now the one seen last."""
        rows = self._rows
        found = rows.get(key)
        if found is not None:
            rows.move_to_end(key)
            return found
        if len(rows) >= self._most:
            rows.popitem(last=False)
            self.evicted += 1
        found = rows[key] = self._make()
        return found

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._rows)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield keys and values, the key seen longest ago first."""
        yield from self._rows.items()


class Distinct:
    """How many different names there were; `exact` is False once there were more than are remembered.

    >>> names = Distinct(most=2)
    >>> for name in "abab":
    ...     names.add(name)
    >>> str(names)
    '2'
    >>> names.add("c")
    >>> str(names), names.of("client")
    ('more than 2', 'more than 2 clients')
    """

    def __init__(self, most: int = MOST_NAMES) -> None:
        """Remember at most so many."""
        self._most = most
        self._seen: set[int] = set()
        self.exact = True

    def add(self, name: Hashable) -> None:
        """Count a name."""
        digest = hash(name)
        if digest in self._seen:
            return
        if len(self._seen) >= self._most:
            self.exact = False
            return
        self._seen.add(digest)

    def __len__(self) -> int:
        """Return how many there were, or the most that are remembered."""
        return len(self._seen)

    def __str__(self) -> str:
        """Return the number for people."""
        return f"{len(self):,}" if self.exact else f"more than {len(self):,}"

    def of(self, thing: str) -> str:
        """Return the number for people, with what was counted."""
        return f"{self} {thing}" if self.exact and len(self) == 1 else f"{self} {thing}s"
