"""HopSkipJump: walk along the decision boundary towards a picture, seeing labels only.

Built to fool a model rather than to copy it, but a walk along the boundary is what decision-based extraction does as
well, and its queries are of the same make: bisections, and small probes around one point.
"""

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ValueRange, ask, two_labels
from detector.redteam.entries import attack
from detector.redteam.setting import Setting
from detector.redteam.space import Space


@attack(
    id="hopskipjump",
    title="HopSkipJump from natural starting points",
    family="decision based",
    source="Chen et al., IEEE S&P 2020, algorithm 2",
    data=("image", "text", "tabular"),
)
def hopskipjump(setting: Setting, *, probes: int = 100, rounds: int = 10) -> Conversation:
    """HopSkipJumpAttack, untargeted, Euclidean (Chen, Jordan, Wainwright, IEEE S&P 2020, algorithm 2).

    Takes a natural picture and, as the starting point, a natural picture of another label; walks `rounds` rounds
    towards the first, the t-th with ``probes * sqrt(t)`` queries (at most 10,000) for its gradient; then takes the next
    two. With 100 probes and 10 rounds one walk costs about 2,400 queries.

    In tables the walk goes through the numbers, each scaled to [0, 1] by its range, while codes stay those of the record
    that is walked towards. A starting record whose label depends on its codes is passed over.

    Needs natural examples of at least two labels, and labels only. Never ends; on a model with one label it goes on
    asking about natural examples.
    """
    pool, rng = setting.pool, setting.rng
    while True:
        original, label, start = yield from two_labels(pool, rng)
        if setting.columns is not None:
            space = setting.space
            aligned = np.where(space.coded, original, start)
            if np.array_equal(aligned, start) or (yield from ask(aligned)) != label:
                toward, begin = ((record - space.low) / space.width for record in (original, aligned))
                steps = walk(toward, label, begin, rng, (0.0, 1.0), probes=probes, rounds=rounds)
                yield from unscaled(steps, original, space)
            continue
        yield from walk(original, label, start, rng, setting.value_range, probes=probes, rounds=rounds)


def unscaled(conversation: Generator[AskedQuery, Answer, Array], record: Array, space: Space) -> Conversation:
    """Turn queries with numbers scaled to [0, 1] into records; all that has no order is that of `record`."""
    ordered = np.isin(np.arange(space.dimension), space.numeric)
    try:
        query = next(conversation)
        while True:
            made = space.settle(np.where(ordered, space.low + query.vector * space.width, record))
            answer = yield replace(query, vector=made)
            query = conversation.send(answer)
    except StopIteration:
        return


def walk(
    original: Array,
    label: int,
    start: Array,
    rng: np.random.Generator,
    value_range: ValueRange,
    *,
    probes: int,
    rounds: int,
) -> Generator[AskedQuery, Answer, Array]:
    """Walk from `start`, whose label differs, towards `original`; returns the last point, just beyond the boundary.

    The probe radius and the bisection's end are the paper's: distance / d, and d^(-3/2) of the way.
    """
    lo, hi = value_range
    dimension = original.size
    point = yield from _onto_boundary(original, label, start)
    for t in range(1, rounds + 1):
        distance = float(np.linalg.norm(point - original))
        # The first radius does not follow the distance: the starting point is still arbitrarily far away.
        radius = 0.1 * (hi - lo) if t == 1 else distance / dimension
        count = min(int(probes * np.sqrt(t)), 10_000)
        direction = yield from _boundary_normal(point, label, radius, count, rng, value_range)
        step = distance / np.sqrt(t)
        while step > distance * 1e-6:
            jump = np.clip(point + step * direction, lo, hi)
            if (yield from ask(jump)) != label:
                point = yield from _onto_boundary(original, label, jump)
                break
            step /= 2.0
    return point


def _onto_boundary(original: Array, label: int, outside: Array) -> Generator[AskedQuery, Answer, Array]:
    """Bisect from `outside` towards `original`; the result is the last point that still has another label."""
    near, far = 0.0, 1.0
    while far - near > original.size**-1.5:
        middle = (near + far) / 2.0
        if (yield from ask(original + middle * (outside - original))) == label:
            near = middle
        else:
            far = middle
    return original + far * (outside - original)


def _boundary_normal(
    point: Array, label: int, radius: float, count: int, rng: np.random.Generator, value_range: ValueRange
) -> Generator[AskedQuery, Answer, Array]:
    """Estimate the unit vector that points away from `label`: the mean of `count` probes, weighted by their side.

    Sides are taken less their mean, which lowers the variance, unless all probes fell on one side.
    """
    directions = rng.standard_normal((count, point.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    probes = np.clip(point + radius * directions, *value_range)
    sides = np.empty(count)
    for i, probe in enumerate(probes):
        sides[i] = 1.0 if (yield from ask(probe)) != label else -1.0
    moved = (probes - point) / radius
    weights = sides if abs(sides.sum()) == count else sides - sides.mean()
    normal = weights @ moved
    return np.asarray(normal / max(float(np.linalg.norm(normal)), 1e-12))
