"""Innocent clients whose programs make versions of a picture: scanners, panning cameras, certificates, editors.

What reaches the model was cut, squeezed, shaken or drawn on by somebody's software first, and often in steps that lead from
one query to the next. These profiles were invented after those of `profiles.devices` and `profiles.testers` had been looked
at, and are a wave of their own, `later`. `dimming_test` halves intervals along a straight line, as a thief does who looks for
the boundary; only the picture that it starts from tells them apart. The conventions are those of `profiles.benign`.
"""

from functools import partial

import numpy as np
from scipy import fft, ndimage

from detector.redteam.conversation import AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import digitised, sensor_steps, shifted, side_of, turned, zoomed
from detector.redteam.setting import Setting

habit = partial(profile, wave="later")


@habit(
    id="label_scanner",
    title="Parcel labels with a bar code",
    family="device",
    source="own observation: scanners crop what they find",
)
def label_scanner(setting: Setting) -> Conversation:
    """A scanner of parcel labels: each crop shows a picture and, along one side, part of a bar code.

    Bars are as wide as the client's printer makes them and cover a fifth to two fifths of the crop; a label is scanned one to
    four times, each a little off.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    side = side_of(pool.shape[1])
    steps = sensor_steps(pool, value_range)
    strip, width = max(1, round(side * rng.uniform(0.2, 0.4))), int(rng.integers(1, 3))
    below, dark = bool(rng.random() < 0.5), rng.uniform(0.7, 1.0)
    for index in draws(len(pool), rng):
        bars = np.repeat(rng.random(side // width + 1) < 0.5, width)[:side]
        label = pool[index].reshape(side, side).copy()
        label[side - strip if below else 0 : side if below else strip] = np.where(bars, lo + dark * (hi - lo), lo)
        for _ in range(int(rng.integers(1, 5))):
            yield AskedQuery(digitised(shifted(label.ravel(), rng.uniform(-0.8, 0.8, 2), lo), value_range, steps))


@habit(
    id="panning_camera",
    title="A camera that pans over a wall",
    family="device",
    source="own observation: security cameras patrol",
    arrival="clockwork",
)
def panning_camera(setting: Setting) -> Conversation:
    """A security camera that pans to and fro over a wall with four to eight pictures side by side.

    It moves by 0.2 to 1.5 pixels a frame, so most frames show parts of two pictures; after two to five passes it is turned to
    another wall. Sensor noise of up to 1.5% of the value range, and the sensor's levels.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    side = side_of(pool.shape[1])
    steps = sensor_steps(pool, value_range)
    pace, noise = rng.uniform(0.2, 1.5), rng.uniform(0.0, 0.015) * (hi - lo)
    order = draws(len(pool), rng)
    while True:
        wall = np.hstack([pool[next(order)].reshape(side, side) for _ in range(int(rng.integers(4, 9)))])
        reach = wall.shape[1] - side
        frames = round(int(rng.integers(2, 6)) * reach / pace)
        for frame in range(frames):
            at = reach - abs(reach - (frame * pace) % (2.0 * reach))
            left = min(int(at), reach - 1)
            share = at - left
            view = (1.0 - share) * wall[:, left : left + side] + share * wall[:, left + 1 : left + 1 + side]
            yield AskedQuery(digitised(view.ravel() + noise * rng.standard_normal(side * side), value_range, steps))


@habit(
    id="super_resolution",
    title="Shrunk, enlarged and restored",
    family="tester",
    source="own observation: restorations are judged by a classifier",
    arrival="bursty",
)
def super_resolution(setting: Setting) -> Conversation:
    """A test of super-resolution: each picture as it is, shrunk to half and enlarged again, and as restored.

    The restored one adds back a share of the lost detail, 30 to 90% as the client's method is good; some ask about the pair
    only.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    side = side_of(pool.shape[1])
    share, restores = rng.uniform(0.3, 0.9), bool(rng.random() < 0.7)
    place = np.arange(side) // 2
    smooth = bool(rng.random() < 0.5)
    for index in draws(len(pool), rng):
        picture = pool[index].reshape(side, side)
        sums = np.zeros((place[-1] + 1, place[-1] + 1))
        counts = np.zeros_like(sums)
        np.add.at(sums, (place[:, None], place), picture)
        np.add.at(counts, (place[:, None], place), 1.0)
        large = (sums / counts)[place[:, None], place]
        if smooth:
            large = ndimage.uniform_filter(large, 2, mode="nearest")
        yield AskedQuery(pool[index])
        yield AskedQuery(np.clip(large, lo, hi).ravel())
        if restores:
            yield AskedQuery(np.clip(large + share * (picture - large), lo, hi).ravel())


@habit(
    id="progressive_loading",
    title="A picture while it loads",
    family="editor",
    source="ITU-T T.81, 1992, annex G",
    arrival="bursty",
)
def progressive_loading(setting: Setting) -> Conversation:
    """A page that asks while a picture loads: 5 to 16 scans, low frequencies first, the last the picture itself.

    Progressive coding by spectral selection (ITU-T T.81, annex G), with one cosine transform of the whole picture.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    scans = int(rng.integers(5, 17))
    side = side_of(pool.shape[1])
    frequency = np.add.outer(np.arange(side), np.arange(side))
    rank = np.argsort(np.argsort(frequency.ravel(), kind="stable"), kind="stable").reshape(side, side)
    for index in draws(len(pool), rng):
        waves = fft.dctn(pool[index].reshape(side, side), norm="ortho")
        for scan in range(1, scans):
            loaded = np.where(rank < max(1, round(rank.size * (scan / scans) ** 2)), waves, 0.0)
            yield AskedQuery(np.clip(fft.idctn(loaded, norm="ortho"), lo, hi).ravel())
        yield AskedQuery(pool[index])


@habit(
    id="uniform_noise",
    title="Uniform noise on every pixel, as augmentation",
    family="exploration",
    source="own observation: training pipelines",
    arrival="bursty",
)
def uniform_noise(setting: Setting) -> Conversation:
    """Augmentation by uniform noise: 2 to 12 versions of each picture, every pixel off by up to 3 to 15% of the range."""
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    size, copies = rng.uniform(0.03, 0.15) * (hi - lo), int(rng.integers(2, 13))
    for index in draws(len(pool), rng):
        for _ in range(copies):
            yield AskedQuery(np.clip(pool[index] + size * rng.uniform(-1.0, 1.0, pool.shape[1]), lo, hi))


@habit(
    id="smoothing",
    title="A certificate by randomised smoothing",
    family="tester",
    source="Cohen et al., ICML 2019, section 3.2",
    arrival="clockwork",
)
def smoothing(setting: Setting) -> Conversation:
    """A certificate of robustness by randomised smoothing: 40 to 200 versions of a picture with normal noise of one size.

    All are nearly equally far from the picture, which is asked about itself first (Cohen, Rosenfeld, Kolter, ICML 2019,
    section 3.2).
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    size, samples = rng.uniform(0.05, 0.25) * (hi - lo), int(rng.integers(40, 201))
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        for _ in range(samples):
            yield AskedQuery(np.clip(pool[index] + size * rng.standard_normal(pool.shape[1]), lo, hi))


@habit(
    id="elastic",
    title="Elastic deformation",
    family="exploration",
    source="Simard et al., ICDAR 2003, section 2",
    arrival="bursty",
)
def elastic(setting: Setting) -> Conversation:
    """Elastic deformation: 3 to 12 versions of each picture, bent by a smooth random field.

    Displacements of 0.3 to 1.2 pixels, smooth over 1 to 3 (Simard, Steinkraus, Platt, ICDAR 2003, section 2).
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    side = side_of(pool.shape[1])
    reach, width, copies = rng.uniform(0.3, 1.2), rng.uniform(1.0, 3.0), int(rng.integers(3, 13))
    grid = np.mgrid[0:side, 0:side].astype(np.float64)
    for index in draws(len(pool), rng):
        for _ in range(copies):
            field = np.stack([ndimage.gaussian_filter(axis, width) for axis in rng.uniform(-1.0, 1.0, (2, side, side))])
            field *= reach / max(float(np.sqrt(np.mean(field**2))), 1e-9)
            bent = ndimage.map_coordinates(pool[index].reshape(side, side), grid + field, order=1, mode="nearest")
            yield AskedQuery(np.clip(bent, lo, hi).ravel())


@habit(
    id="labelling_tool",
    title="The customer's own tool for labels, doubtful ones first",
    family="selection",
    source="Lewis & Gale, SIGIR 1994",
    arrival="bursty",
)
def labelling_tool(setting: Setting) -> Conversation:
    """The customer's own labelling tool: it asks about a stack of pictures and shows people the doubtful ones first.

    Stacks of 20 to 80; the 10 to 40% with the smallest margin are opened one after the other, and each is asked about again,
    as it is, enlarged and turned upright by a few degrees (uncertainty sampling: Lewis & Gale, SIGIR 1994). Needs the model's
    answers.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    size, share = int(rng.integers(20, 81)), rng.uniform(0.1, 0.4)
    factor, angle = rng.uniform(1.1, 1.4), rng.uniform(2.0, 8.0)
    order = draws(len(pool), rng)
    while True:
        stack = [next(order) for _ in range(size)]
        margins = []
        for index in stack:
            best = np.sort((yield AskedQuery(pool[index])))[-2:]
            margins.append(float(best[-1] - best[0]))
        for place in np.argsort(margins, kind="stable")[: max(1, round(share * size))].tolist():
            picture = pool[stack[place]]
            yield AskedQuery(picture)
            yield AskedQuery(np.clip(zoomed(picture, factor, lo), lo, hi))
            yield AskedQuery(np.clip(turned(picture, float(rng.choice([-1.0, 1.0])) * angle, lo), lo, hi))


@habit(
    id="contrast_window",
    title="Windows of a viewer for medical pictures",
    family="exploration",
    source="own observation: radiologists drag windows",
    arrival="bursty",
)
def contrast_window(setting: Setting) -> Conversation:
    """A viewer of medical pictures: each through two to five preset windows, then through one that is dragged.

    A window shows the values from its level minus half its width to its level plus half as black to white; while it is
    dragged it moves by equal steps, 4 to 15 of them.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    presets = np.column_stack([rng.uniform(0.25, 0.75, 5), rng.uniform(0.3, 0.9, 5)])[: int(rng.integers(2, 6))]
    steps = int(rng.integers(4, 16))
    for index in draws(len(pool), rng):
        value = (pool[index] - lo) / (hi - lo)
        drag = presets[int(rng.integers(len(presets)))] + np.outer(np.arange(1, steps + 1) / steps, rng.uniform(-0.25, 0.25, 2))
        for level, width in np.vstack([presets, drag]):
            yield AskedQuery(lo + (hi - lo) * np.clip((value - level) / max(width, 0.05) + 0.5, 0.0, 1.0))


@habit(
    id="contour_drawing",
    title="A contour traced over the picture",
    family="editor",
    source="own observation: annotation tools",
    arrival="bursty",
)
def contour_drawing(setting: Setting) -> Conversation:
    """An app in which people trace what they see: a bright line grows over the picture, 8 to 30 points at a time of asking.

    The line goes about the middle along an uneven oval and is as bright as the client's pen; now and then the last points are
    taken back.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    side = side_of(pool.shape[1])
    points, ink = int(rng.integers(8, 31)), lo + rng.uniform(0.6, 1.0) * (hi - lo)
    undoes = rng.uniform(0.0, 0.15)
    for index in draws(len(pool), rng):
        turn = rng.uniform(0.0, 2.0 * np.pi) + 2.0 * np.pi * np.arange(points) / points
        reach = (0.3 + 0.12 * np.sin(turn * int(rng.integers(2, 5))) + 0.05 * rng.uniform(-1.0, 1.0, points)) * side
        rows = np.clip(np.rint((side - 1) / 2.0 + reach * np.sin(turn)), 0, side - 1).astype(np.int64)
        across = np.clip(np.rint((side - 1) / 2.0 + reach * np.cos(turn)), 0, side - 1).astype(np.int64)
        drawn = 0
        while drawn < points:
            drawn = max(1, drawn - 2) if drawn > 2 and rng.random() < undoes else drawn + 1
            picture = pool[index].copy()
            picture[rows[:drawn] * side + across[:drawn]] = ink
            yield AskedQuery(picture)


@habit(
    id="dimming_test",
    title="How dark may it get? Found by halving",
    family="tester",
    source="own observation: lamps are qualified by limits",
    arrival="clockwork",
)
def dimming_test(setting: Setting) -> Conversation:
    """Qualification of a lamp: how dark may it get before a picture is no longer read? Found by halving the interval.

    5 to 9 halvings between full light and none for each picture, after the two ends (the method of limits, refined by
    bisection, of psychophysics). Needs the model's answers.
    """
    pool, rng = setting.pool, setting.rng
    lo, _ = setting.value_range
    halvings = int(rng.integers(5, 10))
    darkest = rng.uniform(0.0, 0.1)
    for index in draws(len(pool), rng):
        label = int(np.argmax((yield AskedQuery(pool[index]))))
        dark, light = darkest, 1.0
        if int(np.argmax((yield AskedQuery(lo + dark * (pool[index] - lo))))) == label:
            continue
        for _ in range(halvings):
            middle = (dark + light) / 2.0
            same = int(np.argmax((yield AskedQuery(lo + middle * (pool[index] - lo))))) == label
            dark, light = (dark, middle) if same else (middle, light)
