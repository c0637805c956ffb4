"""Innocent clients that send a record again, a little changed: corrections, improvements, scenarios, new versions.

All of them make records from records, as thieves do who build on what they asked before. They were invented with the channel
`children` in view, which must not take them for that; the wave is `later`. The conventions are those of `profiles.records`.
"""

from functools import partial

import numpy as np

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.setting import Setting

habit = partial(profile, wave="later", data="tabular")


def round_amount(size: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten below a size, as people choose amounts.

    >>> round_amount(37.0), round_amount(0.6)
    (20.0, 0.5)
    """
    size = max(size, 1e-6)
    power = 10.0 ** np.floor(np.log10(size) + 1e-9)
    return float(power * max(step for step in (1.0, 2.0, 5.0) if step * power <= size * (1.0 + 1e-6)))


@habit(
    id="tab_corrections",
    title="Records sent again with corrections",
    family="repetition",
    source="own observation: validation sends forms back",
    arrival="bursty",
)
def tab_corrections(setting: Setting) -> Conversation:
    """A form that comes back: a record with one to four wrong values, sent again after each correction of one or two.

    A wrong number is off by a factor of ten or belongs to another record; a wrong code is another one.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    for index in draws(len(pool), rng):
        form = pool[index].copy()
        wrong = rng.permutation(columns.dimension)[: int(rng.integers(1, 5))].tolist()
        for column in wrong:
            if column in columns.numeric and rng.random() < 0.5:
                form[column] *= float(rng.choice([0.1, 10.0]))
            else:
                form[column] = pool[int(rng.integers(len(pool))), column]
        yield AskedQuery(columns.settled(form))
        while wrong:
            for _ in range(min(int(rng.integers(1, 3)), len(wrong))):
                column = wrong.pop()
                form[column] = pool[index, column]
            yield AskedQuery(columns.settled(form))


@habit(
    id="tab_improvements",
    title="Small improvements until the answer turns",
    family="exploration",
    source="own observation: applicants try again",
    arrival="bursty",
)
def tab_improvements(setting: Setting) -> Conversation:
    """An adviser who improves an application until it is granted: two to five numbers, each by a round amount a time.

    Columns, amounts and directions are the client's, a fifth to half of a standard deviation rounded to 1, 2 or 5; now and
    then one of them stays as it is. Stops when the label turns or after 4 to 12 attempts. Needs the model's answers.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    chosen = rng.permutation(columns.numeric)[: int(rng.integers(2, 6))]
    steps = np.array([round_amount(float(columns.spread[j]) * rng.uniform(0.2, 0.5)) for j in chosen])
    steps *= rng.choice([-1.0, 1.0], len(chosen))
    most = int(rng.integers(4, 13))
    for index in draws(len(pool), rng):
        person = pool[index].copy()
        label = int(np.argmax((yield AskedQuery(person.copy()))))
        for _ in range(most):
            person[chosen] += steps * (rng.random(len(chosen)) < 0.8)
            person = columns.settled(person)
            if int(np.argmax((yield AskedQuery(person.copy())))) != label:
                break


@habit(
    id="tab_halved_by_hand",
    title="The largest amount, tried by hand in round numbers",
    family="exploration",
    source="own observation: people try what is granted",
    arrival="bursty",
)
def tab_halved_by_hand(setting: Setting) -> Conversation:
    """A person who looks for the largest amount that is granted: doubles or halves it, then tries about the middle.

    One number, the client's; amounts have one or two leading digits. Three to seven attempts a record. Needs the model's
    answers.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    column = int(rng.choice(columns.numeric))

    def rounded(value: float) -> float:
        grid = round_amount(abs(value) / 10.0) if value else 1.0
        return float(np.rint(value / grid) * grid)

    for index in draws(len(pool), rng):
        record = pool[index]
        label = int(np.argmax((yield AskedQuery(record))))
        granted, refused = float(record[column]), None
        for _ in range(int(rng.integers(3, 8))):
            if refused is None:
                wanted = rounded(granted * 2.0 if granted else float(columns.spread[column]))
            else:
                wanted = rounded((granted + refused) / 2.0)
            asked = record.copy()
            asked[column] = wanted
            same = int(np.argmax((yield AskedQuery(columns.settled(asked))))) == label
            granted, refused = (wanted, refused) if same else (granted, wanted)


@habit(
    id="tab_best_and_worst",
    title="Every record, its best and its worst case",
    family="exploration",
    source="own observation: scenario analysis",
)
def tab_best_and_worst(setting: Setting) -> Conversation:
    """Scenarios: a record, then all its numbers moved by fixed amounts to the better, then by the same to the worse.

    The amounts are the client's, a tenth to half of a standard deviation, rounded to 1, 2 or 5 times a power of ten.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    shift = _shift(columns, rng, (0.1, 0.5))
    for index in draws(len(pool), rng):
        for side in (0.0, 1.0, -1.0):
            yield AskedQuery(columns.settled(pool[index] + side * shift))


@habit(
    id="tab_recalibrated",
    title="Every record before and after a recalibration",
    family="device",
    source="own observation: instruments are adjusted",
)
def tab_recalibrated(setting: Setting) -> Conversation:
    """Instruments with an offset: every record as it was measured, and again with a constant added to each number.

    The constants are the client's, up to a fifth of a standard deviation.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    offset = _shift(columns, rng, (0.02, 0.2))
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        yield AskedQuery(columns.settled(pool[index] + offset))


@habit(
    id="tab_two_versions",
    title="Every record under two versions of its features",
    family="repetition",
    source="own observation: shadow deployments compare versions",
)
def tab_two_versions(setting: Setting) -> Conversation:
    """A shadow deployment: every record twice, the second time as a new version of the client's features has it.

    One column tells the version; one to three numbers are computed anew: off by a factor, or moved to a coarser grid.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = rng.permutation(columns.numeric)
    version, anew = int(order[0]), order[1 : 1 + int(rng.integers(1, 4))]
    old, new = rng.choice(pool[:, version], 2)
    factor = rng.uniform(0.9, 1.1, len(anew))
    grid = np.array([round_amount(float(columns.spread[j]) / 4.0) for j in anew])
    coarser = bool(rng.random() < 0.5)
    for index in draws(len(pool), rng):
        record = pool[index].copy()
        record[version] = old
        yield AskedQuery(columns.settled(record))
        record[version] = new
        record[anew] = np.rint(record[anew] / grid) * grid if coarser else record[anew] * factor
        yield AskedQuery(columns.settled(record))


def _shift(columns: TableColumns, rng: np.random.Generator, share: tuple[float, float]) -> Array:
    """A fixed amount for each number, up or down, between two shares of its standard deviation; 0 for codes."""
    shift = np.zeros(columns.dimension)
    for column in columns.numeric:
        shift[column] = round_amount(float(columns.spread[column]) * rng.uniform(*share)) * rng.choice([-1.0, 1.0])
    return shift
