"""Innocent clients with devices that no calibration has seen.

A selfie camera mirrors, a document scanner turns, a thermal camera sees heat, a fax knows two levels. To a statistic of
novelty each of them is as foreign as a thief's own data set, and that is what they are here for: they are frozen, a
release gate. A threshold, a guard or a floor that is chosen by looking at one of them is worth nothing on the next.

Every profile sends natural pictures through one fixed device, whose numbers are drawn when the conversation begins; none
of them ever ends. The conventions are those of `profiles.benign`.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage

from detector.redteam import pictures
from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import blurred, digitised, sensor_steps, sheared, side_of, zoomed
from detector.redteam.setting import Setting

habit = partial(profile, family="device", wave="frozen")

BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16.0 + 1.0 / 32.0
"""Thresholds of ordered dithering (Bayer, IEEE International Conference on Communications, 1973)."""


@habit(id="mirrored", title="A selfie camera", source="own observation: front cameras mirror")
def mirrored(setting: Setting) -> Conversation:
    """A selfie camera: every picture mirrored, left for right."""
    return _through(setting, lambda picture: picture[:, ::-1])


@habit(id="quarter_turned", title="A camera on its side", source="own observation: orientation tags get lost")
def quarter_turned(setting: Setting) -> Conversation:
    """A camera mounted on its side: every picture turned by 90 degrees, to the left or to the right."""
    rng = setting.rng
    turns = int(rng.choice([1, 3]))
    return _through(setting, lambda picture: np.rot90(picture, turns))


@habit(id="edge_filtered", title="Edges instead of pictures", source="Sobel's operator, as preprocessing")
def edge_filtered(setting: Setting) -> Conversation:
    """A client that sends edges: the length of the Sobel gradient, with an amplification of its own."""
    rng = setting.rng
    lo, hi = setting.value_range
    gain = rng.uniform(0.15, 0.35)

    def lens(picture: Array) -> Array:
        slope = np.hypot(ndimage.sobel(picture, 0, mode="nearest"), ndimage.sobel(picture, 1, mode="nearest"))
        return np.clip(lo + gain * slope, lo, hi)

    return _through(setting, lens)


@habit(id="inverted", title="Black for white", source="own observation: scanned negatives")
def inverted(setting: Setting) -> Conversation:
    """Black for white, as from a scanner of negatives, with a contrast of 0.7 to 1."""
    rng = setting.rng
    lo, hi = setting.value_range
    contrast = rng.uniform(0.7, 1.0)
    return _through(setting, lambda picture: hi - contrast * (picture - lo))


@habit(id="thermal", title="A thermal camera", source="own observation: another kind of sensor", arrival="clockwork")
def thermal(setting: Setting) -> Conversation:
    """A thermal camera: soft, noisy, compressed by a gamma of 0.4 to 0.7, on a warm background."""
    rng = setting.rng
    lo, hi = setting.value_range
    width, gamma = rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.7)
    warmth, noise = rng.uniform(0.1, 0.3), rng.uniform(0.01, 0.03)

    def lens(picture: Array) -> Array:
        heat = np.clip((blurred(picture.ravel(), width) - lo) / (hi - lo), 0.0, 1.0) ** gamma
        seen = warmth + (1.0 - warmth) * heat + noise * rng.standard_normal(heat.size)
        return lo + (hi - lo) * np.clip(seen, 0.0, 1.0)

    return _through(setting, lens)


@habit(id="dithered", title="A printer's raster", source="Bayer, IEEE ICC 1973")
def dithered(setting: Setting) -> Conversation:
    """A printer's raster: ordered dithering to 2, 3 or 4 levels, the pattern where the client's printer puts it."""
    rng = setting.rng
    lo, hi = setting.value_range
    steps = int(rng.integers(1, 4))
    offset = rng.integers(4, size=2)

    def lens(picture: Array) -> Array:
        side = len(picture)
        raster = np.roll(BAYER, offset, axis=(0, 1))[np.arange(side)[:, None] % 4, np.arange(side) % 4]
        level = np.floor(np.clip((picture - lo) / (hi - lo), 0.0, 1.0) * steps + raster)
        return lo + (hi - lo) * np.minimum(level, steps) / steps

    return _through(setting, lens)


@habit(id="binarised", title="Black and white only", source="own observation: faxed pages")
def binarised(setting: Setting) -> Conversation:
    """A fax: black or white, by a threshold of 30 to 60% of the value range."""
    rng = setting.rng
    lo, hi = setting.value_range
    threshold = lo + rng.uniform(0.3, 0.6) * (hi - lo)
    return _through(setting, lambda picture: np.where(picture > threshold, hi, lo))


@habit(id="salt_and_pepper", title="Pixels lost on a bad line", source="own observation: bit errors")
def salt_and_pepper(setting: Setting) -> Conversation:
    """A bad line: 1 to 8% of the pixels black or white, others each time."""
    rng = setting.rng
    lo, hi = setting.value_range
    share = rng.uniform(0.01, 0.08)

    def lens(picture: Array) -> Array:
        hit = rng.random(picture.shape)
        return np.where(hit < share / 2.0, lo, np.where(hit < share, hi, picture))

    return _through(setting, lens)


@habit(id="scrolling", title="A display that scrolls and wraps", source="own observation: tickers", arrival="clockwork")
def scrolling(setting: Setting) -> Conversation:
    """A display that scrolls: each picture is seen at every position, wrapping around, one to three pixels further on.

    To the left or upwards, at the client's own pace, once around per picture.
    """
    pool, rng = setting.pool, setting.rng
    pace, axis = int(rng.integers(1, 4)), int(rng.integers(2))
    side = side_of(pool.shape[1])
    for index in draws(len(pool), rng):
        for step in range(0, side, pace):
            yield AskedQuery(np.roll(pool[index].reshape(side, side), -step, axis=axis).ravel())


@habit(id="dead_rows", title="A sensor with dead rows or columns", source="own observation: sensors fail by rows")
def dead_rows(setting: Setting) -> Conversation:
    """A damaged sensor: one to three rows or columns are stuck, the same ones for ever."""
    pool, rng = setting.pool, setting.rng
    count, across = int(rng.integers(1, 4)), bool(rng.random() < 0.5)
    stuck = float(rng.choice(np.array(setting.value_range)))
    side = side_of(pool.shape[1])
    rows = rng.choice(side, min(count, side), replace=False)

    def lens(picture: Array) -> Array:
        seen = picture.copy()
        if across:
            seen[rows] = stuck
        else:
            seen[:, rows] = stuck
        return seen

    return _through(setting, lens)


@habit(id="other_zoom", title="A lens of another focal length", source="own observation: another mount")
def other_zoom(setting: Setting) -> Conversation:
    """A lens of another focal length: every picture enlarged 1.25 to 1.6 times, or shrunk to 0.55 to 0.8."""
    rng = setting.rng
    lo, _ = setting.value_range
    factor = rng.uniform(1.25, 1.6) if rng.random() < 0.5 else rng.uniform(0.55, 0.8)
    return _through(setting, lambda picture: zoomed(picture.ravel(), factor, lo))


@habit(id="slanted", title="A scanner that pulls the paper askew", source="own observation: worn rollers")
def slanted(setting: Setting) -> Conversation:
    """A scanner that pulls the paper askew: every picture sheared by 0.2 to 0.5 pixels a row, to one side."""
    rng = setting.rng
    lo, _ = setting.value_range
    slant = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.5)
    return _through(setting, lambda picture: sheared(picture.ravel(), slant, lo))


@habit(id="compressed", title="Lossy compression by blocks", source="ITU-T T.81, 1992")
def compressed(setting: Setting) -> Conversation:
    """Lossy compression: cosine transform of blocks of 8x8, quantised as JPEG does at quality 10 to 60.

    Scaling of the quantisation by quality is the Independent JPEG Group's. Grey pictures only, no entropy coding.
    """
    rng = setting.rng
    quality = rng.uniform(10.0, 60.0)
    return _through(setting, lambda picture: pictures.compressed(picture.ravel(), setting.value_range, quality))


@habit(id="posterised", title="Few levels", source="own observation: palettes")
def posterised(setting: Setting) -> Conversation:
    """A display of few colours: 3 to 6 levels."""
    rng = setting.rng
    steps = int(rng.integers(2, 6))
    return _through(setting, lambda picture: digitised(picture, setting.value_range, steps))


@habit(id="low_bits", title="A watermark in the last bit", source="own observation: steganographic watermarks")
def low_bits(setting: Setting) -> Conversation:
    """A watermark in the last bit: half of the pixels, at random, are off by one level of the sensor."""
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)

    def lens(picture: Array) -> Array:
        level = np.rint((picture - lo) / (hi - lo) * steps).astype(np.int64)
        marked = np.minimum((level & ~1) | rng.integers(2, size=picture.shape), steps)
        return np.asarray(lo + marked * (hi - lo) / steps)

    return _through(setting, lens)


@habit(
    id="flickering",
    title="A static camera under a lamp on the mains",
    source="own observation: lamps beat with the shutter",
    arrival="clockwork",
)
def flickering(setting: Setting) -> Conversation:
    """A static camera under a lamp on the mains: 20 to 60 frames a scene, brightness in a rhythm of 3 to 9 frames.

    Nothing else changes, so frames repeat exactly as soon as the rhythm does.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    steps = sensor_steps(pool, value_range)
    period, depth = int(rng.integers(3, 10)), rng.uniform(0.05, 0.3)
    wave = 1.0 - depth * (0.5 + 0.5 * np.cos(2.0 * np.pi * np.arange(period) / period))
    for index in draws(len(pool), rng):
        for frame in range(int(rng.integers(20, 61))):
            yield AskedQuery(digitised(np.clip(lo + wave[frame % period] * (pool[index] - lo), lo, hi), value_range, steps))


def _through(setting: Setting, lens: Callable[[Array], Array]) -> Conversation:
    """Ask about natural pictures as `lens` makes them of (side, side)."""
    pool = setting.pool
    for index in draws(len(pool), setting.rng):
        side = side_of(pool.shape[1])
        yield AskedQuery(np.array(lens(pool[index].reshape(side, side)), dtype=np.float64).ravel())
