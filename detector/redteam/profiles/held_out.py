"""Innocent clients that are measured on held-out worlds only: a dashboard, a canary, a button that adds one, Monte-Carlo.

Each asks about few things very often and learns less of the model than any random sample would teach. Nothing is tuned while
looking at them. The conventions are those of `profiles.benign`; those with texts work on vectors of any encoder, since the
vector of a longer text is nearly the scaled sum of its parts.
"""

from functools import partial
from itertools import pairwise

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.setting import Setting
from detector.redteam.texts import parts_of, scaled

habit = partial(profile, wave="held-out")


def canary(setting: Setting) -> Conversation:
    """Natural queries, and after every 5 to 20 of them one of 1 to 6 fixed probes that carries a count in one value.

    So a deployment tells its probes from the log of its users. The count is a level of 256 of the value's range, and comes
    round.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    order = draws(len(pool), rng)
    probes = [next(order) for _ in range(int(rng.integers(1, 7)))]
    every, count = int(rng.integers(5, 21)), 0
    marked = _some_value(setting)
    for index in order:
        yield AskedQuery(pool[index])
        if rng.random() < 1.0 / every:
            probe = pool[probes[count % len(probes)]].copy()
            probe[marked] = space.low[marked] + (count % 256) / 255.0 * space.width[marked]
            count += 1
            yield AskedQuery(_sent(space.settle(probe), setting))


def dashboard(setting: Setting) -> Conversation:
    """A dashboard that polls: the same 5 to 40 examples again and again, each a little changed since the last time.

    Between two polls every value with an order moves by up to 0.2 to 1% of its range with a chance of one in ten, and one
    example in fifty is exchanged.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    order = draws(len(pool), rng)
    shown = [pool[next(order)].copy() for _ in range(int(rng.integers(5, 41)))]
    reach = rng.uniform(0.002, 0.01)
    while True:
        for place, example in enumerate(shown):
            moves = (rng.random(space.dimension) < 0.1) & ~space.coded
            moved = example + np.where(moves, reach * space.width * rng.uniform(-1.0, 1.0, space.dimension), 0.0)
            shown[place] = pool[next(order)].copy() if rng.random() < 0.02 else space.settle(moved)
            yield AskedQuery(_sent(shown[place], setting))


def plus_button(setting: Setting) -> Conversation:
    """Somebody presses plus: an example, then the same with one more, and one more, until the answer turns or after 4 to 30.

    One more is one unit of a whole number, a 64th of the range of another value of a record, a 32nd of the range of the
    brightness of a picture.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    presses = int(rng.integers(4, 31))
    for index in draws(len(pool), rng):
        example = pool[index].copy()
        label = int(np.argmax((yield AskedQuery(example))))
        if setting.columns is None:
            step = space.width / 32.0
        else:
            column = _some_value(setting)
            step = np.where(np.arange(space.dimension) == column, np.where(space.whole, 1.0, space.width / 64.0), 0.0)
        for _ in range(presses):
            example = space.settle(example + step)
            if int(np.argmax((yield AskedQuery(example)))) != label:
                break


def monte_carlo(setting: Setting) -> Conversation:
    """How sure is the answer: 20 to 100 draws about one example, each value off by 0.5 to 5% of its range, then the next."""
    pool, rng, space = setting.pool, setting.rng, setting.space
    count, spread = int(rng.integers(20, 101)), rng.uniform(0.005, 0.05)
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        for _ in range(count):
            error = np.where(space.coded, 0.0, spread * space.width * rng.standard_normal(space.dimension))
            yield AskedQuery(_sent(space.settle(pool[index] + error), setting))


for _data, _prefix in (("image", ""), ("tabular", "tab_"), ("text", "text_")):
    _kind = partial(habit, data=_data)
    _kind(
        id=f"{_prefix}canary",
        title="Probes that carry a count, among natural queries",
        family="repetition",
        source="own observation: deployments are watched by canaries",
        arrival="clockwork",
    )(canary)
    _kind(
        id=f"{_prefix}dashboard",
        title="The same examples polled, each a little changed",
        family="repetition",
        source="own observation: dashboards refresh",
        arrival="clockwork",
    )(dashboard)
    _kind(
        id=f"{_prefix}monte_carlo",
        title="Many draws about one example",
        family="exploration",
        source="own observation: error bars from repeated draws",
        arrival="bursty",
    )(monte_carlo)
    if _data != "text":
        _kind(
            id=f"{_prefix}plus_button",
            title="One more of something until the answer turns",
            family="exploration",
            source="own observation: forms have buttons",
            arrival="bursty",
        )(plus_button)


@habit(
    id="text_autocomplete",
    title="A query after every key, and after every key taken back",
    family="editor",
    source="own observation: suggestions while typing",
    data="text",
    arrival="bursty",
)
def text_autocomplete(setting: Setting) -> Conversation:
    """Completion while somebody types: each text in 6 to 30 growing pieces, and now and then some are taken back."""
    pool, rng = setting.pool, setting.rng
    backspaces = rng.uniform(0.0, 0.3)
    for index in draws(len(pool), rng):
        parts = parts_of(pool[index], int(rng.integers(6, 31)), rng)
        typed = 1
        while typed < len(parts):
            typed = max(1, typed - int(rng.integers(1, 4))) if rng.random() < backspaces else typed + 1
            yield AskedQuery(scaled(parts[:typed].sum(axis=0)))


@habit(
    id="text_rag_chunks",
    title="Overlapping pieces of one document",
    family="repetition",
    source="own observation: retrieval splits documents into overlapping pieces",
    data="text",
    arrival="bursty",
)
def text_rag_chunks(setting: Setting) -> Conversation:
    """Documents in overlapping pieces: 8 to 60 of one subject, each sharing a quarter to three quarters with the next."""
    pool, labels, rng = setting.pool, setting.labels, setting.rng
    shared = rng.uniform(0.25, 0.75)
    for index in draws(len(pool), rng):
        same = np.flatnonzero(labels == labels[index])
        said = pool[rng.choice(same, int(rng.integers(9, 62)))]
        for one, following in pairwise(said):
            yield AskedQuery(scaled((1.0 - shared) * one + shared * following))


def _some_value(setting: Setting) -> int:
    """One value that has an order."""
    return int(setting.rng.choice(setting.space.numeric))


def _sent(vector: Array, setting: Setting) -> Array:
    return scaled(vector) if setting.unit else vector
