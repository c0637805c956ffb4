"""Lowd and Meek: find one change of one feature that flips the label, then weigh every other feature against it."""

from collections.abc import Generator

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ask, two_labels
from detector.redteam.entries import attack
from detector.redteam.setting import Setting
from detector.redteam.space import Space


@attack(
    id="lowd_meek",
    title="Sign witness and features one by one",
    family="boundary",
    source="Lowd, Meek, KDD 2005",
    data=("image", "tabular"),
)
def lowd_meek(setting: Setting, *, tolerance: float = 1e-3, gap: float = 0.05) -> Conversation:
    """Reverse engineering of a linear classifier (Lowd, Meek, KDD 2005, continuous features).

    Takes two natural examples of different labels and finds the boundary's normal between them (`normal_at`); then
    takes the next two, which for a linear model confirms and for any other gives another local normal.

    Needs natural examples of at least two labels, and labels only. One normal costs about a dozen queries a feature.
    Never ends; on a model with one label it goes on asking about natural examples.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    while True:
        inside, label, outside = yield from two_labels(pool, rng)
        yield from normal_at(inside, label, outside, space, rng, tolerance=tolerance, gap=gap)


def normal_at(
    inside: Array,
    label: int,
    outside: Array,
    space: Space,
    rng: np.random.Generator,
    *,
    tolerance: float,
    gap: float,
) -> Generator[AskedQuery, Answer, Array | None]:
    """Normal of the boundary between `inside`, which has `label`, and `outside`, which has not: (dimension,), outward.

    The sign witness: turning the features of `inside` into those of `outside` one by one, some single feature flips the
    label. Its crossing is bisected to `tolerance` of its range, and its weight is plus or minus one. Then from a point
    `gap` of that range before the boundary, or where that fails as far beyond it, every other feature is moved until the
    label flips, and the distance tells its weight. A feature that cannot reach the boundary within its range counts as
    weight zero, which is right up to the gap. Whole-number features are only as exact as their units; codes get weight zero.

    None if the flipping feature is a code or has no room.
    """
    here = inside
    there = inside
    witness = -1
    for column in rng.permutation(space.dimension):
        there = here.copy()
        there[column] = outside[column]
        if there[column] != here[column] and (yield from ask(there)) != label:
            witness = int(column)
            break
        here = there
    if witness not in space.numeric:
        return None
    crossing = yield from _crossing(here, label, witness, float(there[witness]), space, tolerance)
    if crossing is None:
        return None
    sign = float(np.sign(there[witness] - here[witness]))
    before, beyond = here.copy(), here.copy()
    before[witness] = crossing - sign * gap * space.width[witness]
    beyond[witness] = crossing + sign * gap * space.width[witness]
    before, beyond = space.settle(before), space.settle(beyond)
    weights = np.zeros(space.dimension)
    weights[witness] = sign
    usable = []
    for start, inner in ((before, True), (beyond, False)):
        if start[witness] != crossing and ((yield from ask(start)) == label) is inner:
            usable.append((start, inner))
    if not usable:
        return None
    for column in space.numeric:
        for start, inner in usable:
            if column == witness or weights[column]:
                break
            for end in (float(space.high[column]), float(space.low[column])):
                flip = yield from _crossing(start, label, int(column), end, space, tolerance * gap, inner=inner)
                if flip is not None and flip != start[column]:
                    # What the witness feature lacks to the boundary, this one has made up.
                    weights[column] = sign * (crossing - start[witness]) / (flip - start[column])
                    break
    return np.asarray(weights / np.linalg.norm(weights))


def _crossing(
    start: Array, label: int, column: int, end: float, space: Space, tolerance: float, *, inner: bool = True
) -> Generator[AskedQuery, Answer, float | None]:
    """Where the answer crosses `label`'s boundary as one feature goes from `start` to `end`: the middle of the last bracket.

    `inner` says on which side `start` is. None if `end` is on the same.
    """
    near, far = float(start[column]), end
    probe = start.copy()
    probe[column] = end
    if near == far or ((yield from ask(probe)) == label) is inner:
        return None
    while abs(far - near) > tolerance * space.width[column]:
        probe = start.copy()
        probe[column] = (near + far) / 2.0
        probe = space.settle(probe)
        if probe[column] in (near, far):
            break
        if ((yield from ask(probe)) == label) is inner:
            near = float(probe[column])
        else:
            far = float(probe[column])
    return (near + far) / 2.0
