"""Sign-OPT: descend on the distance to the boundary, using one bit of the gradient from each query."""

from collections.abc import Generator

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ValueRange, ask, two_labels
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(
    id="sign_opt",
    title="Sign-OPT from natural starting points",
    family="decision based",
    source="Cheng et al., ICLR 2020, algorithm 1",
)
def sign_opt(setting: Setting, *, probes: int = 100, rounds: int = 10) -> Conversation:
    """Sign-OPT, untargeted, from natural starting points (Cheng et al., ICLR 2020, algorithm 1).

    Takes a natural picture and one of another label; the direction from the first to the second is turned, `rounds`
    times, so that the boundary comes nearer (`turn`). The paper takes 200 probes a round and hundreds of rounds.

    Needs natural pictures of at least two labels, and labels only. Never ends; on a model with one label it goes on
    asking about natural pictures.
    """
    pool, rng = setting.pool, setting.rng
    while True:
        original, label, start = yield from two_labels(pool, rng)
        yield from turn(original, label, start, rng, setting.value_range, probes=probes, rounds=rounds)


def turn(
    original: Array,
    label: int,
    start: Array,
    rng: np.random.Generator,
    value_range: ValueRange,
    *,
    probes: int,
    rounds: int,
) -> Generator[AskedQuery, Answer, tuple[Array, float]]:
    """Turn the direction from `original` to `start`; returns the last unit direction and its distance to the boundary.

    The sign of the change of that distance under a small turn is one query: is the point at the old distance in the
    new direction still `label`? `probes` such signs make the descent direction; its step is found by doubling.
    """
    smoothing = 0.01
    direction = (start - original) / np.linalg.norm(start - original)
    distance = float(np.linalg.norm(start - original))
    distance = yield from _distance(original, label, direction, distance, value_range)
    step = 0.2
    for _ in range(rounds):
        slope = np.zeros(original.size)
        for _ in range(probes):
            u = rng.standard_normal(original.size)
            u /= np.linalg.norm(u)
            turned = direction + smoothing * u
            turned /= np.linalg.norm(turned)
            inside = (yield from ask(np.clip(original + distance * turned, *value_range))) == label
            slope += u if inside else -u
        slope /= max(float(np.linalg.norm(slope)), 1e-12)
        for grow in (2.0, 0.5):
            better = False
            for _ in range(10):
                turned = direction - step * slope
                turned /= np.linalg.norm(turned)
                if (yield from ask(np.clip(original + distance * turned, *value_range))) == label:
                    break
                nearer = yield from _distance(original, label, turned, distance, value_range)
                if nearer >= distance:
                    break
                direction, distance, better = turned, nearer, True
                step *= grow
            if better:
                break
            step *= 0.5
        smoothing *= 1.0 if better else 0.5
    return direction, distance


def _distance(
    original: Array, label: int, direction: Array, far: float, value_range: ValueRange
) -> Generator[AskedQuery, Answer, float]:
    """Bisect how far the boundary is in a direction that has another label at `far`."""
    near, end = 0.0, far
    while far - near > 1e-3 * end:
        middle = (near + far) / 2.0
        if (yield from ask(np.clip(original + middle * direction, *value_range))) == label:
            near = middle
        else:
            far = middle
    return far
