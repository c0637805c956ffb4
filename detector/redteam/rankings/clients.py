"""Clients of a recommender, as generators: they yield a history and are sent a ranking (see `detector.redteam.conversation`).

Attacks know the catalogue: ids of items are public. Only `natural` needs histories of people, which a thief has to have from
somewhere. Innocents ask as a shop's own pages and jobs do.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from detector.redteam.rankings.users import WINDOW, History

__all__ = ["ATTACKS", "HABITS", "Client", "Conversation", "Recommend", "Start", "converse"]

Conversation: TypeAlias = Generator[History, History, None]
"""Yields histories, is sent the rankings."""
Recommend: TypeAlias = Callable[[History], History]


class Start(NamedTuple):
    """What a client begins with: the number of items, histories of people (each a whole walk), and chance."""

    items: int
    walks: list[History]
    rng: np.random.Generator


class Client(NamedTuple):
    """A kind of client: what it is, and how it begins."""

    title: str
    begin: Callable[[Start], Conversation]


def traverse(start: Start) -> Conversation:
    """Walk the catalogue: every item alone, then every item with its first neighbour before it, then with the second, ...

    The answers to the first pass are each item's list of neighbours, all that an item-to-item recommender has to tell.
    """
    told: dict[int, History] = {}
    for item in range(start.items):
        told[item] = yield (item,)
    for place in range(max(map(len, told.values()), default=0)):
        for item, ranking in told.items():
            if place < len(ranking):
                yield (ranking[place], item)


def autoregressive(start: Start) -> Conversation:
    """Let the model write histories: go on with one of the items that it recommends, the better ones more often.

    Yue, He, Zeng and McAuley, "Black-box attacks on sequential recommenders via data-free model extraction" (RecSys 2021),
    section 4.1. Each history begins with an item drawn at random and is asked about at every length up to `WINDOW`.
    """
    while True:
        history: History = (int(start.rng.integers(start.items)),)
        while len(history) <= WINDOW:
            ranking = yield history
            if not ranking:
                break
            weights = 1.0 / np.arange(1.0, len(ranking) + 1.0)
            history = (*history, int(start.rng.choice(ranking, p=weights / weights.sum())))


def at_random(start: Start) -> Conversation:
    """Ask about histories of items drawn at random, as the same paper does to compare."""
    while True:
        length = int(start.rng.integers(1, WINDOW + 1))
        yield tuple(int(item) for item in start.rng.choice(start.items, size=length, replace=False))


def natural(start: Start) -> Conversation:
    """Ask about histories of real people: windows of the walks that he holds, in any order."""
    for walk, end in _windows(start):
        yield walk[max(end - WINDOW, 0) : end]


def browse(start: Start) -> Conversation:
    """A person: looks at items, often at one that was recommended, and is told anew after each.

    The person's own walk stands for what he would have looked at anyway.
    """
    for walk in _walks(start):
        history: History = walk[:1]
        own = iter(walk[1:])
        while True:
            ranking = yield history[-WINDOW:]
            if ranking and start.rng.random() < _CLICKS:
                place = min(int(start.rng.geometric(0.4)), len(ranking)) - 1
                following: int | None = ranking[place]
            else:
                following = next((item for item in own if item not in history[-WINDOW:]), None)
            if following is None:
                break
            history = (*history, following)


def batch_job(start: Start) -> Conversation:
    """A nightly job that makes the recommendations of a newsletter: each user's latest history once, in the order of users."""
    while start.walks:
        for walk in start.walks:
            end = int(start.rng.integers(1, len(walk) + 1))
            yield walk[max(end - WINDOW, 0) : end]


def item_pages(start: Start) -> Conversation:
    """The box "goes well with this" on the pages of items: one item each time, as often as its page is looked at."""
    for walk, end in _windows(start):
        yield walk[end - 1 : end]


_CLICKS: Final = 0.3

ATTACKS: Final[dict[str, Client]] = {
    "traverse": Client("every item of the catalogue, then pairs of an item and a neighbour", traverse),
    "autoregressive": Client("histories that the model's own recommendations write (Yue et al., RecSys 2021)", autoregressive),
    "random": Client("histories of items drawn at random", at_random),
    "natural": Client("histories of real people", natural),
}
HABITS: Final[dict[str, Client]] = {
    "browse": Client("a person who browses and clicks on what is recommended", browse),
    "batch": Client("a nightly job over the histories of all users", batch_job),
    "pages": Client("the box of similar items on the pages of items", item_pages),
}


def _walks(start: Start) -> Iterator[History]:
    while start.walks:
        yield start.walks[int(start.rng.integers(len(start.walks)))]


def _windows(start: Start) -> Iterator[tuple[History, int]]:
    for walk in _walks(start):
        yield walk, int(start.rng.integers(1, len(walk) + 1))


def converse(conversation: Conversation, recommend: Recommend, budget: int) -> list[tuple[History, History]]:
    """Play one client until it ends or has asked `budget` queries, and close it; return the histories and the rankings.

    >>> converse(traverse(Start(2, [], np.random.default_rng(0))), lambda history: (1 - history[-1],), budget=3)
    [((0,), (1,)), ((1,), (0,)), ((1, 0), (1,))]
    """
    heard: list[tuple[History, History]] = []
    try:
        history = next(conversation, None) if budget > 0 else None
        while history is not None:
            ranking = recommend(history)
            heard.append((history, ranking))
            history = conversation.send(ranking) if len(heard) < budget else None
    except StopIteration:
        pass
    finally:
        conversation.close()
    return heard
