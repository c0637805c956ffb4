"""Clients of a recommender in simulated time, and the prediction log that its server would write.

A history is logged as columns: `item_1` is the latest item, `item_2` the one before it, up to `WINDOW`; where the history is
shorter the value is null. That is what a sequential recommender gets (a window of ids, padded on the left), under names.
Ids are texts: columns of texts become categories, which are the same or not, whereas numbers would be near or far, and item 17
is no nearer to 18 than to 300.

Some recommenders take the catalogue as one vector instead, 1 for each item of the history and 0 for the others; `INPUTS` has
both.
"""

import heapq
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detector.contracts.moment import rfc3339
from detector.errors import ConfigError
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.play import START_MS, json_line
from detector.redteam.rankings.clients import ATTACKS, HABITS, Conversation, Recommend, Start
from detector.redteam.rankings.users import WINDOW, History, Shop

__all__ = ["INPUTS", "MODEL", "Asker", "cast", "columns", "item_id", "play"]

MODEL: Final = "next-item"

_DAY_MS: Final = 86_400_000
_WALKS, _LENGTH = 60, 30  # people whose histories a client asks about
_GAPS: Final = {"browse": "bursty", "batch": "clockwork"}


def item_id(item: int) -> str:
    """Return the id of an item as logs and interfaces have it.

    >>> item_id(7)
    'item-007'
    """
    return f"item-{item:03}"


def columns(history: History) -> dict[str, str | None]:
    """Return a history as the columns of an event.

    >>> list(columns((4, 7)).items())[:3]
    [('item_1', 'item-007'), ('item_2', 'item-004'), ('item_3', None)]
    """
    latest = [item_id(item) for item in history[: -WINDOW - 1 : -1]]
    return {f"item_{place + 1}": latest[place] if place < len(latest) else None for place in range(WINDOW)}


def marks(history: History, items: int) -> list[int]:
    """Return which items stand in the window of a history, 1 or 0 for each of the catalogue.

    >>> marks((2, 0), 4)
    [1, 0, 1, 0]
    """
    latest = set(history[-WINDOW:])
    return [int(item in latest) for item in range(items)]


Write = Callable[[History, int], dict[str, Any]]
"""Makes the input of an event of a history, given the number of items."""

INPUTS: Final[Mapping[str, Write]] = {
    "columns": lambda history, _: {"columns": columns(history)},
    "vector": lambda history, items: {"vector": marks(history, items)},
}
"""Forms in which a history may be logged."""


@dataclass(slots=True)
class Asker:
    """One client: its name and kind, its conversation, the gaps between its queries, and how many it asks."""

    name: str
    kind: str
    conversation: Conversation
    gaps: Iterator[float]
    budget: int
    next_ms: float
    items: int
    heard: list[tuple[History, History]] = field(default_factory=list)


def cast(kinds: Sequence[str], shop: Shop, instances: int, budget: int, seed: int, day: int = 0) -> list[Asker]:
    """Return so many clients of each kind, who begin on a day; each has the histories of people of its own.

    The same seed gives the same clients, whoever else is there. Raises `ConfigError` for a kind that is none.
    """
    known = {**ATTACKS, **HABITS}
    askers = []
    for kind in dict.fromkeys(kinds):
        if kind not in known:
            raise ConfigError(f"there is no client {kind!r} of a recommender; there are: {', '.join(known)}")
        for number in range(instances):
            rng = np.random.default_rng([seed, number, zlib.crc32(kind.encode())])
            start = Start(shop.items, shop.walks(_WALKS, _LENGTH, rng), rng)
            hostile = kind in ATTACKS
            gap = 6.0 if hostile else 12.0
            askers.append(
                Asker(
                    f"thief-{kind}-{number + 1}" if hostile else f"{kind}-{seed}-{number + 1}",
                    kind,
                    known[kind].begin(start),
                    ARRIVALS[_GAPS.get(kind, "poisson")](rng, gap),
                    budget,
                    START_MS + day * _DAY_MS + 1000.0 * float(rng.uniform(0.0, 10.0 * gap)),
                    shop.items,
                )
            )
    return askers


def play(askers: Sequence[Asker], recommend: Recommend, inputs: str = "columns") -> Iterator[tuple[bytes, bytes]]:
    """Yield each event and the truth about it, both as JSON lines, in the order of time, and close the conversations.

    `inputs` names the form of the histories, one of `INPUTS`.
    """
    write = INPUTS[inputs]
    queue: list[tuple[float, int, History]] = []
    try:
        for number, asker in enumerate(askers):
            history = next(asker.conversation, None)
            if history is not None and asker.budget > 0:
                heapq.heappush(queue, (asker.next_ms, number, history))
        while queue:
            now, number, history = heapq.heappop(queue)
            asker = askers[number]
            ranking = recommend(history)
            asker.heard.append((history, ranking))
            yield _event(asker, int(now), write), _truth(asker)
            if len(asker.heard) < asker.budget:
                try:
                    following = asker.conversation.send(ranking)
                except StopIteration:
                    continue
                heapq.heappush(queue, (now + 1000.0 * next(asker.gaps), number, following))
    finally:
        for asker in askers:
            asker.conversation.close()


def _event_id(asker: Asker) -> str:
    return f"{asker.name}#{len(asker.heard)}"


def _event(asker: Asker, now_ms: int, write: Write) -> bytes:
    history, ranking = asker.heard[-1]
    return json_line(
        {
            "event_id": _event_id(asker),
            "time": rfc3339(now_ms),
            "client": {"id": asker.name, "type": "api_key"},
            "model": {"id": MODEL, "version": "1"},
            "input": write(history, asker.items),
            "output": {"ranking": [item_id(item) for item in ranking]},
            "status": 200,
        }
    )


def _truth(asker: Asker) -> bytes:
    return json_line({"event_id": _event_id(asker), "client": asker.name, "role": asker.kind, "hostile": asker.kind in ATTACKS})
