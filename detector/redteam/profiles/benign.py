"""Innocent clients.

Published detectors were tried on innocents who draw independent test pictures, and on little else. Real ones film the
same scene, retry after a time-out, care about three of ten classes or hold a poor camera; a video looks more like an
attack to a distance test than most attacks do. A profile is one such habit. The numbers that make one client of a
profile differ from the next (its classes, its noise, its rate of retries) are drawn when the conversation begins.

Every profile begins with natural pictures and their labels, and never ends. An empty pool raises ValueError at the first
query, as does a pool whose vectors are not square pictures where a profile needs pictures.
"""

from collections import deque
from functools import partial

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import digitised, sensor_steps, shifted
from detector.redteam.setting import Setting

habit = partial(profile, wave="known")


@habit(
    id="steady",
    title="Independent natural pictures",
    family="selection",
    source="Juuti et al., EuroS&P 2019: the innocent of that evaluation",
    arrival="steady",
)
def steady(setting: Setting) -> Conversation:
    """Independent natural pictures, never the same twice in a row: the innocent of the literature."""
    pool, rng = setting.pool, setting.rng
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])


@habit(
    id="bursty",
    title="Independent natural pictures in bursts",
    family="selection",
    source="Willinger et al., IEEE/ACM ToN 5(1), 1997",
    arrival="bursty",
)
def bursty(setting: Setting) -> Conversation:
    """The pictures of `steady`; what differs is when they come (`arrivals.bursty`)."""
    return steady(setting)


@habit(id="skewed", title="Few classes: Dirichlet(0.25) weights", family="selection", source="Hsu et al., arXiv 1909.06335")
def skewed(setting: Setting) -> Conversation:
    """A client that cares about a few classes: class weights from a Dirichlet(0.25), then a picture of that class.

    Dirichlet(0.25) is the usual strongly uneven client of federated learning (Hsu, Qi, Brown 2019, arXiv 1909.06335):
    of ten classes, two or three carry most of the traffic.
    """
    pool, labels, rng = setting.pool, setting.labels, setting.rng
    present = np.unique(labels)
    if present.size == 0:
        raise ValueError("a client needs at least one picture to ask about")
    members = [np.flatnonzero(labels == label) for label in present]
    orders = [draws(rows.size, rng) for rows in members]
    weights = rng.dirichlet(np.full(present.size, 0.25))
    while True:
        which = int(rng.choice(present.size, p=weights))
        yield AskedQuery(pool[members[which][next(orders[which])]])


@habit(
    id="video",
    title="Frames of a hand-held camera",
    family="repetition",
    source="own observation: consecutive frames are near duplicates",
    arrival="clockwork",
)
def video(setting: Setting) -> Conversation:
    """Scenes of 15 to 60 frames of one picture, seen by a hand-held camera.

    The camera drifts by fractions of a pixel and now and then jolts by a whole one, within one pixel of where it began;
    brightness drifts by about 1% a frame within 20%; each pixel gets noise of 1.5% of the value range; values are
    clipped and rounded to the levels of the pool's own sensor. Frames are near duplicates, and some are exact ones.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)
    for index in draws(len(pool), rng):
        scene = pool[index]
        offset = rng.uniform(-0.5, 0.5, 2)
        gain = 1.0
        for _ in range(int(rng.integers(15, 61))):
            frame = lo + gain * (shifted(scene, offset, lo) - lo) + 0.015 * (hi - lo) * rng.standard_normal(scene.size)
            yield AskedQuery(digitised(frame, value_range, steps))
            jolt = rng.integers(-1, 2, 2) if rng.random() < 0.1 else np.zeros(2)
            offset = np.clip(offset + rng.normal(0.0, 0.15, 2) + jolt, -1.0, 1.0)
            gain = float(np.clip(gain + rng.normal(0.0, 0.01), 0.8, 1.2))


@habit(
    id="retries",
    title="Exact repeats of 10 to 50% of the queries",
    family="repetition",
    source="own observation: time-outs, reloads and lost caches",
    arrival="bursty",
)
def retries(setting: Setting) -> Conversation:
    """A client that sends 10 to 50% of its queries again, exactly: time-outs, page reloads, a cache that was lost.

    What is repeated is one of its last eight different pictures.
    """
    pool, rng = setting.pool, setting.rng
    share = rng.uniform(0.1, 0.5)
    recent: deque[Array] = deque(maxlen=8)
    for index in draws(len(pool), rng):
        while recent and rng.random() < share:
            yield AskedQuery(recent[int(rng.integers(len(recent)))])
        recent.append(pool[index])
        yield AskedQuery(pool[index])


@habit(
    id="noisy_sensor",
    title="A poor camera: noise and gain",
    family="device",
    source="own observation: one device, one noise level",
)
def noisy_sensor(setting: Setting) -> Conversation:
    """A poor camera: Gaussian noise of 2 to 10% of the value range and a gain of 0.7 to 1.3, both fixed per client.

    Values are clipped to the range, not rounded: such a client sends what its preprocessing computed.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    noise = rng.uniform(0.02, 0.10) * (hi - lo)
    gain = rng.uniform(0.7, 1.3)
    for index in draws(len(pool), rng):
        seen = lo + gain * (pool[index] - lo) + noise * rng.standard_normal(pool.shape[1])
        yield AskedQuery(np.clip(seen, lo, hi))
