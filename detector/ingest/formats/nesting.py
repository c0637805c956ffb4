"""Lists within lists -> their values in order, however deep; no recursion, so no depth is too much."""

from collections.abc import Iterator
from typing import Any

__all__ = ["flat"]


def flat(values: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    """Yield the values of nested lists and tuples in order.

    >>> list(flat([1, [2, (3, [])], 4]))
    [1, 2, 3, 4]
    """
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, list | tuple):
                waiting.append(iter(value))
                break
            yield value
        else:
            waiting.pop()
