"""One feature at a time: bisect a single column of a real record to the threshold behind it."""

from collections.abc import Generator

import numpy as np

from detector.redteam.columns import Columns
from detector.redteam.conversation import Answer, Array, Conversation, Labels, Query, ValueRange, ask, draws
from detector.redteam.space import Space


def one_feature_bisect(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    columns: Columns | None = None,
    tolerance: float = 1e-3,
    whole: bool = False,
) -> Conversation:
    """Bisection of single columns: the line search of Tramèr et al. (USENIX Security 2016, section 4.2), from records.

    Asks about a natural record and about both ends of a random ordered column of it; where an end has another label,
    halves the bracket until it is `tolerance` of the column's range, or one unit in whole-number columns. With `whole`
    only whole numbers are asked in any column, as a thief does who must look like a form being filled in.

    Needs natural records and labels only. Never ends. Raises ValueError at the first query if there is no record or no
    ordered column.
    """
    del labels, classes
    space = Space.of(columns, value_range, pool.shape[1])
    if space.numeric.size == 0:
        raise ValueError("bisecting needs a column with an order")
    for index in draws(len(pool), rng):
        record = pool[index]
        label = int(np.argmax((yield Query(record))))
        column = int(rng.choice(space.numeric))
        for end in rng.permutation([space.low[column], space.high[column]]):
            if end != record[column]:
                yield from _threshold(record, label, column, float(end), space, tolerance, whole=whole)


def _threshold(
    record: Array, label: int, column: int, end: float, space: Space, tolerance: float, *, whole: bool
) -> Generator[Query, Answer, float | None]:
    """Where the label flips on the way to `end`: the last value with `label`; None if the end has it, too."""
    probe = record.copy()
    probe[column] = end
    if (yield from ask(probe)) == label:
        return None
    near, far = float(record[column]), end
    while abs(far - near) > tolerance * space.width[column]:
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
