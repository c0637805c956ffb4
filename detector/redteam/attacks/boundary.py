"""The Boundary attack: a random walk along the boundary towards a picture, seeing labels only."""

from collections.abc import Generator

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ValueRange, ask, two_labels
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(
    id="boundary",
    title="Boundary attack from natural starting points",
    family="decision based",
    source="Brendel et al., ICLR 2018, algorithm 1",
)
def boundary(setting: Setting, *, steps: int = 500) -> Conversation:
    """Boundary attack, untargeted, from natural starting points (Brendel, Rauber, Bethge, ICLR 2018, algorithm 1).

    Takes a natural picture and one of another label, and walks `steps` steps from the second towards the first: a
    random step along the sphere around the first, then one inwards, each kept only if the label stays another.

    Needs natural pictures of at least two labels, and labels only. Thousands of queries a walk until it is close. Never
    ends; on a model with one label it goes on asking about natural pictures.
    """
    pool, rng = setting.pool, setting.rng
    while True:
        original, label, start = yield from two_labels(pool, rng)
        yield from wander(original, label, start, rng, setting.value_range, steps=steps)


def wander(
    original: Array, label: int, start: Array, rng: np.random.Generator, value_range: ValueRange, *, steps: int
) -> Generator[AskedQuery, Answer, Array]:
    """Walk from `start`, whose label differs, towards `original`; returns the last point, which differs as well.

    Both step lengths are relative to the distance and follow the local geometry: the one along the sphere grows when
    more than half of its last ten tries kept the label away, the one inwards when more than a quarter did.
    """
    lo, hi = value_range
    point = start
    along, inwards = 0.1, 0.1
    kept: list[bool] = []
    came: list[bool] = []
    for _ in range(steps):
        toward = original - point
        distance = float(np.linalg.norm(toward))
        if distance < 1e-6 * (hi - lo) or inwards < 1e-7:
            break
        toward /= distance
        noise = rng.standard_normal(point.size)
        noise -= (noise @ toward) * toward
        moved = point + along * distance * noise / np.linalg.norm(noise)
        moved = original + (moved - original) * distance / np.linalg.norm(moved - original)
        moved = np.clip(moved, lo, hi)
        kept.append((yield from ask(moved)) != label)
        if kept[-1]:
            nearer = moved + inwards * (original - moved)
            came.append((yield from ask(nearer)) != label)
            if came[-1]:
                point = nearer
        if len(kept) == 10:
            along = min(along * 1.1, 0.5) if np.mean(kept) > 0.5 else along * 0.9
            kept.clear()
        if len(came) == 10:
            inwards = min(inwards * 1.1, 0.5) if np.mean(came) > 0.25 else inwards * 0.9
            came.clear()
    return point
