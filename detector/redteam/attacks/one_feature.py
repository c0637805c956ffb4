"""One feature at a time: bisect a single column of a real record to the threshold behind it."""

from collections.abc import Generator
from functools import partial

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ask, draws
from detector.redteam.entries import attack
from detector.redteam.setting import Setting
from detector.redteam.space import Space


@attack(
    id="one_feature_bisect",
    title="Bisection of single columns",
    family="boundary",
    source="Tramèr et al., USENIX Security 2016, section 4.2",
    data=("tabular",),
)
def one_feature_bisect(setting: Setting, *, tolerance: float = 1e-3, whole: bool = False, most: int = 60) -> Conversation:
    """Bisection of single columns: the line search of Tramèr et al. (USENIX Security 2016, section 4.2), from records.

    Asks about a natural record and about both ends of a random ordered column of it; where an end has another label,
    halves the bracket until it is `tolerance` of the column's range, or one unit in whole-number columns. With `whole`
    only whole numbers are asked in any column, as a thief does who must look like a form being filled in. After `most` halvings
    the threshold is good enough.

    Needs natural records and labels only. Never ends. Raises ValueError at the first query if there is no record or no
    ordered column.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    if space.numeric.size == 0:
        raise ValueError("bisecting needs a column with an order")
    for index in draws(len(pool), rng):
        record = pool[index]
        label = int(np.argmax((yield AskedQuery(record))))
        column = int(rng.choice(space.numeric))
        for end in rng.permutation([space.low[column], space.high[column]]):
            if end != record[column]:
                yield from _threshold(record, label, column, float(end), space, tolerance, most, whole=whole)


attack(
    id="one_feature_bisect_whole",
    title="Bisection of single columns in whole numbers",
    family="boundary",
    source="an adversary who knows this design",
    data=("tabular",),
)(partial(one_feature_bisect, whole=True))
attack(
    id="one_feature_bisect_shallow",
    title="Bisection of single columns that stops after two halvings",
    family="boundary",
    source="an adversary who knows this design",
    data=("tabular",),
)(partial(one_feature_bisect, most=2))


def _threshold(
    record: Array, label: int, column: int, end: float, space: Space, tolerance: float, most: int, *, whole: bool
) -> Generator[AskedQuery, Answer, float | None]:
    """Where the label flips on the way to `end`: the last value with `label`; None if the end has it, too."""
    probe = record.copy()
    probe[column] = end
    if (yield from ask(probe)) == label:
        return None
    near, far = float(record[column]), end
    for _ in range(most):
        if abs(far - near) <= tolerance * space.width[column]:
            break
        probe = record.copy()
        probe[column] = (near + far) / 2.0
        probe = space.settle(probe)
        if whole:
            probe[column] = np.rint(probe[column])
        if probe[column] in (near, far) or not min(near, far) < probe[column] < max(near, far):
            break
        if (yield from ask(probe)) == label:
            near = float(probe[column])
        else:
            far = float(probe[column])
    return near
