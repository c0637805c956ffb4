"""Innocent clients that make pictures: robustness testers, drawing programs, editors.

What they send was constructed from other pictures, by honest people. Random noise of one size on every pixel is, query
for query, what an attack by the sign of a gradient sends; a detector of construction will take `sign_noise` for it and can
only be told who the tester is. The profiles are frozen, as those of `profiles.devices`, and keep to the
conventions of `profiles.benign`.
"""

from functools import partial

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import blurred, digitised, sensor_steps, shifted, side_of, toned, turned
from detector.redteam.setting import Setting

habit = partial(profile, wave="frozen")


@habit(
    id="sign_noise",
    title="Random noise of one size on every pixel",
    family="tester",
    source="Tramèr et al., ICLR 2018, section 4",
    arrival="clockwork",
)
def sign_noise(setting: Setting) -> Conversation:
    """A robustness test with random noise of one size: every pixel of a picture up or down by 2 to 10% of the range.

    5 to 20 versions of each picture, after the picture itself (the random start of Tramèr et al., ICLR 2018, section 4).
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    size = rng.uniform(0.02, 0.10) * (hi - lo)
    copies = int(rng.integers(5, 21))
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        for _ in range(copies):
            yield AskedQuery(np.clip(pool[index] + size * rng.choice([-1.0, 1.0], pool.shape[1]), lo, hi))


@habit(
    id="robustness_sweep",
    title="Corruptions of growing strength until the label turns",
    family="tester",
    source="Hendrycks & Dietterich, ICLR 2019, section 3",
    arrival="clockwork",
)
def robustness_sweep(setting: Setting) -> Conversation:
    """A benchmark of corruptions: noise, blur, contrast, brightness or rotation in 5 to 10 growing strengths.

    One corruption after the other for each picture, each given up when the label changes, since the test has failed
    (strengths: Hendrycks & Dietterich, ICLR 2019, section 3). How strong the strongest is, is the client's.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    severities = np.linspace(0.0, 1.0, int(rng.integers(5, 11)) + 1)[1:] * rng.uniform(0.6, 1.2)
    for index in draws(len(pool), rng):
        picture = pool[index]
        label = int(np.argmax((yield AskedQuery(picture))))
        for kind in range(5):
            for severity in severities:
                seen = (
                    picture + 0.3 * severity * (hi - lo) * rng.standard_normal(picture.size),
                    blurred(picture, 1.8 * severity),
                    toned(picture, value_range, contrast=1.0 - 0.8 * min(severity, 1.0)),
                    toned(picture, value_range, brightness=0.5 * severity),
                    turned(picture, 45.0 * severity, lo),
                )[kind]
                if int(np.argmax((yield AskedQuery(np.clip(seen, lo, hi))))) != label:
                    break


@habit(
    id="progressive_drawing",
    title="A drawing asked about while the pen moves",
    family="editor",
    source="own observation: recognition while drawing",
    arrival="bursty",
)
def progressive_drawing(setting: Setting) -> Conversation:
    """A drawing program that asks while the pen moves: 8 to 30 stages from an empty sheet to a picture.

    The pen passes the pixels row by row, or outwards from where it was set down.
    """
    pool, rng = setting.pool, setting.rng
    lo, _ = setting.value_range
    stages = int(rng.integers(8, 31))
    outwards = bool(rng.random() < 0.5)
    side = side_of(pool.shape[1])
    down, right = np.divmod(np.arange(side * side), side)
    for index in draws(len(pool), rng):
        start = rng.uniform(0.0, side, 2)
        passed = np.hypot(down - start[0], right - start[1]) if outwards else down + right / side
        rank = np.argsort(np.argsort(passed, kind="stable"), kind="stable")
        for stage in range(1, stages + 1):
            yield AskedQuery(np.where(rank < round(rank.size * stage / stages), pool[index], lo))


@habit(
    id="cross_fade",
    title="Pictures that fade into each other",
    family="editor",
    source="own observation: slide shows",
    arrival="clockwork",
)
def cross_fade(setting: Setting) -> Conversation:
    """A slide show that fades: 8 to 30 equal steps from each picture to the next.

    All of them lie on the line between two pictures, and the label changes on the way.
    """
    pool, rng = setting.pool, setting.rng
    steps = int(rng.integers(8, 31))
    order = draws(len(pool), rng)
    before = pool[next(order)]
    for index in order:
        after = pool[index]
        for share in np.arange(steps) / steps:
            yield AskedQuery((1.0 - share) * before + share * after)
        before = after


@habit(
    id="time_lapse",
    title="One scene through the day",
    family="device",
    source="own observation: surveillance cameras",
    arrival="clockwork",
)
def time_lapse(setting: Setting) -> Conversation:
    """A fixed camera through the day: one scene for 60 to 200 frames while the light rises and falls.

    The sun moves the shadows by a fraction of a pixel, the sensor adds noise of the client's own, values are rounded.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)
    noise, wander = rng.uniform(0.002, 0.015) * (hi - lo), rng.uniform(0.0, 0.4)
    for index in draws(len(pool), rng):
        frames = int(rng.integers(60, 201))
        for hour in np.linspace(0.0, np.pi, frames):
            moved = shifted(pool[index], np.array([0.0, wander * np.cos(hour)]), lo)
            light = lo + (0.35 + 0.65 * np.sin(hour)) * (moved - lo) + noise * rng.standard_normal(moved.size)
            yield AskedQuery(digitised(light, value_range, steps))


@habit(id="mixup", title="Random blends of two pictures", family="tester", source="Zhang et al., ICLR 2018, section 2")
def mixup(setting: Setting) -> Conversation:
    """Validation of a training set with mixup: every query is a random blend of two pictures.

    The share is from a Beta(a, a) with the client's a of 0.2 to 1 (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018, section 2).
    """
    pool, rng = setting.pool, setting.rng
    shape = rng.uniform(0.2, 1.0)
    order = draws(len(pool), rng)
    while True:
        share = rng.beta(shape, shape)
        yield AskedQuery(share * pool[next(order)] + (1.0 - share) * pool[next(order)])
