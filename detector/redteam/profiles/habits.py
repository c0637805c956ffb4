"""More innocent clients with pictures: what applications do to a model all day.

A night job sends the same pictures again, a load test replays fifty of them for hours, somebody pulls a slider. Each of
these repeats itself more than most thieves do. The conventions are those of `profiles.benign`: one habit a
profile, the numbers that tell its clients apart are drawn when the conversation begins, and it never ends. An empty pool
raises ValueError at the first query, and so does a pool of vectors that are no square pictures where a picture is needed.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from detector.redteam.conversation import Array, AskedQuery, Conversation, Labels, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import blurred, digitised, sensor_steps, shifted, side_of, toned, turned, zoomed
from detector.redteam.setting import Setting

habit = partial(profile, wave="known")

Control = Callable[[Array, float], Array]


@habit(
    id="drifting",
    title="A camera that works loose: rotation, zoom, light",
    family="device",
    source="own observation: mounts and lamps age",
    arrival="clockwork",
)
def drifting(setting: Setting) -> Conversation:
    """A camera that works loose: rotation, zoom and brightness wander slowly from one picture to the next.

    Each is a random walk that is pulled back: about 15 degrees, 15% of size and 15% of the value range at most, at a
    pace of the client's own.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, _ = value_range
    steps = sensor_steps(pool, value_range)
    reach = np.array([15.0, 0.15, 0.15])
    pace = rng.uniform(0.01, 0.05)
    state = rng.uniform(-0.5, 0.5, 3)
    for index in draws(len(pool), rng):
        angle, size, light = state * reach
        seen = zoomed(turned(pool[index], angle, lo), 1.0 + size, lo)
        yield AskedQuery(digitised(toned(seen, value_range, light), value_range, steps))
        state = np.clip(0.995 * state + pace * rng.standard_normal(3), -1.0, 1.0)


@habit(
    id="nightly",
    title="The same pictures every night, taken anew",
    family="repetition",
    source="own observation: batch jobs re-score their stock",
    arrival="bursty",
)
def nightly(setting: Setting) -> Conversation:
    """A night job: the same 20 to 60 pictures every night, photographed anew and therefore slightly different.

    Noise of 0.5 to 2% of the value range, a brightness of the night's own within 3%, and one picture in twenty exchanged.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)
    noise = rng.uniform(0.005, 0.02) * (hi - lo)
    order = draws(len(pool), rng)
    kept = [next(order) for _ in range(int(rng.integers(20, 61)))]
    while True:
        light = rng.uniform(-0.03, 0.03)
        for place, index in enumerate(kept):
            if rng.random() < 0.05:
                kept[place] = index = next(order)  # noqa: PLW2901 - the new picture is asked about at once
            seen = toned(pool[index], value_range, light) + noise * rng.standard_normal(pool.shape[1])
            yield AskedQuery(digitised(seen, value_range, steps))


@habit(
    id="ab_shadow",
    title="Every picture through two versions of preprocessing",
    family="repetition",
    source="own observation: shadow deployments compare versions",
)
def ab_shadow(setting: Setting) -> Conversation:
    """Every picture twice: as it is, and as a new version of the client's own preprocessing makes it.

    The difference is the same for the whole session: a crop off by part of a pixel, a resize, a gamma, or other levels.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    shift = rng.uniform(-0.6, 0.6, 2)
    size, gamma = rng.uniform(0.94, 1.06), rng.uniform(0.85, 1.18)
    levels = int(rng.integers(12, 64))
    versions: tuple[Callable[[Array], Array], ...] = (
        lambda picture: shifted(picture, shift, lo),
        lambda picture: zoomed(picture, size, lo),
        lambda picture: lo + (hi - lo) * ((picture - lo) / (hi - lo)) ** gamma,
        lambda picture: digitised(picture, value_range, levels),
    )
    other = versions[int(rng.integers(len(versions)))]
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        yield AskedQuery(np.clip(other(pool[index]), lo, hi))


@habit(
    id="load_test",
    title="A small set of pictures replayed without end",
    family="repetition",
    source="own observation: load generators replay a file",
    arrival="clockwork",
)
def load_test(setting: Setting) -> Conversation:
    """A load test: a fixed set of 5 to 50 pictures, again and again, in order or shuffled each time."""
    pool, rng = setting.pool, setting.rng
    order = draws(len(pool), rng)
    kept = np.array([next(order) for _ in range(int(rng.integers(5, 51)))])
    shuffled = rng.random() < 0.5
    while True:
        for index in rng.permutation(kept) if shuffled else kept:
            yield AskedQuery(pool[index])


@habit(
    id="sliders",
    title="One control moved through its range, in order",
    family="exploration",
    source="own observation: demonstrations have sliders",
    arrival="bursty",
)
def sliders(setting: Setting) -> Conversation:
    """Somebody pulls one slider through its range, picture after picture, to see when the answer changes.

    The slider (brightness, contrast, blur or rotation) and its 8 to 40 positions are the client's. In order, so each
    query is halfway between its neighbours.
    """
    return _swept(setting, in_order=True)


@habit(
    id="shuffled_sliders",
    title="One control moved through its range, in random order",
    family="exploration",
    source="own observation: sweeps run in parallel",
    arrival="bursty",
)
def shuffled_sliders(setting: Setting) -> Conversation:
    """The queries of `sliders` as a program sends them that works in parallel: positions in random order."""
    return _swept(setting, in_order=False)


def _swept(setting: Setting, *, in_order: bool) -> Conversation:
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, _ = value_range
    controls: tuple[tuple[float, float, Control], ...] = (
        (-0.5, 0.5, lambda picture, at: toned(picture, value_range, brightness=at)),
        (0.3, 1.8, lambda picture, at: toned(picture, value_range, contrast=at)),
        (0.0, 2.0, blurred),
        (-45.0, 45.0, lambda picture, at: turned(picture, at, lo)),
    )
    least, most, control = controls[int(rng.integers(len(controls)))]
    positions = np.linspace(least, most, int(rng.integers(8, 41)))
    for index in draws(len(pool), rng):
        for at in positions if in_order else rng.permutation(positions):
            yield AskedQuery(np.clip(control(pool[index], at), *value_range))


@habit(
    id="augmentation",
    title="Random variants of each picture, as in training",
    family="exploration",
    source="own observation: test-time augmentation averages answers",
    arrival="bursty",
)
def augmentation(setting: Setting) -> Conversation:
    """Augmentation as in training, at test time: each picture as 4 to 16 random variants.

    Variants are mirrored or not, cropped by shifting up to a tenth of the side, turned up to 10 degrees and noisy by up to
    4% of the value range, as the client chose for itself.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    side = side_of(pool.shape[1])
    copies = int(rng.integers(4, 17))
    mirrors, turns = rng.random() < 0.5, rng.uniform(0.0, 10.0)
    reach, noise = max(1.0, 0.1 * side), rng.uniform(0.0, 0.04) * (hi - lo)
    for index in draws(len(pool), rng):
        for _ in range(copies):
            picture = pool[index].reshape(side, side)
            if mirrors and rng.random() < 0.5:
                picture = picture[:, ::-1]
            moved = shifted(picture.ravel(), rng.uniform(-reach, reach, 2), lo)
            seen = turned(moved, rng.uniform(-turns, turns), lo) + noise * rng.standard_normal(side * side)
            yield AskedQuery(np.clip(seen, lo, hi))


@habit(id="blur", title="A lens out of focus", family="device", source="own observation: autofocus hunts")
def blur(setting: Setting) -> Conversation:
    """A lens out of focus: every picture blurred, by a width that hunts about the client's own of 0.4 to 1.5 pixels."""
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    usual = rng.uniform(0.4, 1.5)
    for index in draws(len(pool), rng):
        width = usual * rng.uniform(0.7, 1.3)
        yield AskedQuery(np.clip(blurred(pool[index], width), lo, hi))


@habit(
    id="gain",
    title="Automatic exposure that hunts",
    family="device",
    source="own observation: exposure is bracketed",
    arrival="bursty",
)
def gain(setting: Setting) -> Conversation:
    """Automatic exposure that hunts: each picture one to four times, at a gain of its own between 0.5 and 1.5."""
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)
    reach = rng.uniform(0.15, 0.5)
    most = int(rng.integers(1, 5))
    for index in draws(len(pool), rng):
        for _ in range(int(rng.integers(1, most + 1))):
            bright = lo + rng.uniform(1.0 - reach, 1.0 + reach) * (pool[index] - lo)
            yield AskedQuery(digitised(np.clip(bright, lo, hi), value_range, steps))


@habit(
    id="hard_cases",
    title="Only what a small model is unsure of",
    family="selection",
    source="Viola & Jones, CVPR 2001, section 4: cascades",
)
def hard_cases(setting: Setting) -> Conversation:
    """The end of a cascade: a small model answers what it is sure of, and only the hardest 10 to 35% come here.

    The small model is the nearest class centre (cascades: Viola & Jones, CVPR 2001, section 4).
    """
    pool, labels, rng = setting.pool, setting.labels, setting.rng
    hardest = unsure(pool, labels, rng.uniform(0.1, 0.35))
    for place in draws(len(hardest), rng):
        yield AskedQuery(pool[hardest[place]])


@habit(
    id="health_checks",
    title="A few fixed pictures in turn",
    family="repetition",
    source="own observation: probes of monitoring",
    arrival="clockwork",
)
def health_checks(setting: Setting) -> Conversation:
    """Monitoring: one to eight fixed pictures in turn, and now and then a fresh one to see that the model still thinks.

    A fresh one comes after 5 to 20 checks.
    """
    pool, rng = setting.pool, setting.rng
    order = draws(len(pool), rng)
    probes = [next(order) for _ in range(int(rng.integers(1, 9)))]
    every = int(rng.integers(5, 21))
    turn = 0
    while True:
        turn += 1
        yield AskedQuery(pool[next(order) if turn % (every + 1) == 0 else probes[turn % len(probes)]])


def unsure(X: Array, labels: Labels, share: float) -> npt.NDArray[np.intp]:
    """Rows of X (n, dimension) that the nearest class centre is least sure of: `share` of them, two at least.

    It is unsure where the two nearest centres are nearly equally near. Raises ValueError if X is empty.

    >>> unsure(np.array([[0.0], [1.0], [4.5], [9.0], [10.0]]), np.array([0, 0, 0, 1, 1]), 0.2).tolist()
    [2, 3]
    """
    if not len(X):
        raise ValueError("a client needs at least one example to ask about")
    centres = np.stack([X[labels == label].mean(axis=0) for label in np.unique(labels)])
    distances = np.sort(np.linalg.norm(X[:, None] - centres, axis=2), axis=1)
    margin = distances[:, 1] - distances[:, 0] if len(centres) > 1 else distances[:, 0]
    return np.argsort(margin, kind="stable")[: max(2, round(share * len(X)))]
