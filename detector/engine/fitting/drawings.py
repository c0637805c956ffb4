"""Drawings: pictures of another kind than a population's, by formula and from pieces of its own pictures.

A thief's foreign pictures are not known. What is known is in how many ways a picture can be drawn: fields of any roughness,
figures that hide each other, waves and spots, strokes on a ground. From the population's pictures come some that have the same
values but are put together in another way. Whoever is unlike all of these and like the population is no foreigner.

Pictures are squares (n, side, side) in value ranges, 0 to 1.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Planes: TypeAlias = npt.NDArray[np.float64]
Rng: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[int, Rng], Planes]

FEWEST_TILES = 4  # tiles along a side of a picture that is put together from others


def drawn_by_formula(count: int, side: int, rng: Rng) -> dict[str, Planes]:
    """Return `count` pictures of each kind of `FORMULAS`, with contrasts and brightnesses of their own."""
    return {kind: _toned(np.stack([draw(side, rng) for _ in range(count)]), rng) for kind, draw in FORMULAS.items()}


def put_together(own: Planes, rng: Rng) -> Planes:
    """Return three pictures for each of the population's `own`: its waves elsewhere, four small ones, and tiles of others."""
    return np.concatenate([_other_phases(own, rng), _four_small(own, rng), _tiles(own, rng)])


def _field(side: int, rng: Rng) -> Planes:
    """A random field of any spectrum, perhaps stretched, now and then nearly of two levels."""
    whole = 2 * side
    angle, stretch = rng.uniform(0.0, np.pi), np.exp(rng.uniform(-1.0, 1.0)) if rng.random() < 0.5 else 1.0
    down, across = np.fft.fftfreq(whole)[:, None] * whole, np.fft.rfftfreq(whole)[None] * whole
    along, aside = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
    waves = np.hypot(along, stretch * aside)
    if rng.random() < 0.5:
        size = (1.0 + waves) ** -rng.uniform(0.3, 3.5)
    else:
        size = np.exp(-0.5 * np.square(waves / rng.uniform(1.5, side / 1.5))) * (waves > 0.0)
    spectrum = size * (rng.standard_normal(size.shape) + 1j * rng.standard_normal(size.shape))
    drawn = np.fft.irfft2(spectrum, (whole, whole))[:side, :side]
    drawn = (drawn - drawn.mean()) / max(float(drawn.std()), 1e-12)
    return np.tanh(1.5 * drawn) if rng.random() < 0.3 else np.asarray(drawn)


def _figures(side: int, rng: Rng) -> Planes:
    """Figures of one shade each that hide each other, from ellipses to boxes; soft now and then."""
    down, across = _places(side)
    drawn = np.full((side, side), rng.random())
    if rng.random() < 0.4:
        drawn = drawn + rng.normal(0.0, 0.3) * (across - 0.5) + rng.normal(0.0, 0.3) * (down - 0.5)
    for _ in range(int(rng.integers(1, 7))):
        angle, y, x = rng.uniform(0.0, np.pi), down - rng.uniform(-0.1, 1.1), across - rng.uniform(-0.1, 1.1)
        u = (np.cos(angle) * y + np.sin(angle) * x) / rng.uniform(0.05, 0.5)
        v = (np.cos(angle) * x - np.sin(angle) * y) / rng.uniform(0.05, 0.5)
        power = rng.uniform(1.0, 8.0)
        shade = rng.random() + (rng.random() < 0.3) * rng.normal(0.0, 0.3) * u
        drawn = np.where(np.abs(u) ** power + np.abs(v) ** power < 1.0, shade, drawn)
    return _grainy(ndimage.gaussian_filter(drawn, rng.uniform(0.3, 1.0)) if rng.random() < 0.4 else drawn, 0.2, rng)


def _waves(side: int, rng: Rng) -> Planes:
    """One to three waves or soft spots."""
    down, across = _places(side)
    drawn = np.zeros((side, side))
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            angle = rng.uniform(0.0, np.pi)
            turns = rng.uniform(0.3, side / 4.0) * (np.cos(angle) * across + np.sin(angle) * down)
            drawn += rng.random() * np.sin(2.0 * np.pi * (turns + rng.random()))
        else:
            square = np.square(across - rng.random()) + np.square(down - rng.random())
            drawn += rng.choice([-1.0, 1.0]) * np.exp(-square / (2.0 * rng.uniform(0.05, 0.4) ** 2))
    return drawn


def _strokes(side: int, rng: Rng) -> Planes:
    """Up to seven lines, arcs and dots, light on a dark ground, sharp or soft."""
    down, across = _places(side)
    drawn = np.zeros((side, side))
    width, edge = rng.uniform(0.3, 1.6) / side, rng.choice([2.0, 4.0])
    for _ in range(int(rng.integers(1, 8))):
        y, x = down - rng.uniform(0.1, 0.9), across - rng.uniform(0.1, 0.9)
        kind = rng.integers(3)
        if kind == 0:
            angle = rng.uniform(0.0, np.pi)
            beyond = np.maximum(np.abs(x * np.cos(angle) + y * np.sin(angle)) - rng.uniform(0.1, 0.45), 0.0)
            away = np.hypot(beyond, y * np.cos(angle) - x * np.sin(angle))
        elif kind == 1:
            away = np.abs(np.hypot(x, y) - rng.uniform(0.08, 0.4))
        else:
            away = 0.5 * np.hypot(x, y)
        drawn = np.maximum(drawn, rng.uniform(0.5, 1.0) * np.exp(-0.5 * (away / width) ** edge))
    return _grainy(drawn, 0.4, rng)


FORMULAS: Mapping[str, Draw] = MappingProxyType({"fields": _field, "figures": _figures, "waves": _waves, "strokes": _strokes})
"""Kinds of drawings; each draws one picture of a side."""


def _places(side: int) -> tuple[Planes, Planes]:
    down, across = (np.mgrid[0:side, 0:side] + 0.5) / side
    return down, across


def _grainy(drawn: Planes, share: float, rng: Rng) -> Planes:
    """Return the picture, with grain as a sensor has it in this share of the cases."""
    return drawn + rng.uniform(0.0, 0.06) * rng.standard_normal(drawn.shape) if rng.random() < share else drawn


def _toned(drawn: Planes, rng: Rng) -> Planes:
    low = drawn.min(axis=(1, 2), keepdims=True)
    unit = (drawn - low) / np.maximum(np.ptp(drawn, axis=(1, 2), keepdims=True), 1e-9)
    count = (len(drawn), 1, 1)
    dark = rng.random(count) * rng.random(count)
    return np.asarray(dark + (1.0 - dark) * rng.uniform(0.2, 1.0, count) * unit)


def _other_phases(own: Planes, rng: Rng) -> Planes:
    """The same waves, each somewhere else."""
    found = np.fft.rfft2(own)
    phases = np.angle(np.fft.rfft2(rng.standard_normal(own.shape)))
    moved = np.abs(found) * np.exp(1j * phases)
    moved[:, 0, 0] = found[:, 0, 0]
    return np.asarray(np.clip(np.fft.irfft2(moved, own.shape[1:]), 0.0, 1.0))


def _four_small(own: Planes, rng: Rng) -> Planes:
    """Four pictures of half the size."""
    count, side, _ = own.shape
    half = side // 2
    small = own[:, : 2 * half, : 2 * half].reshape(count, half, 2, half, 2).mean(axis=(2, 4))
    parts = [small, *(small[rng.permutation(count)] for _ in range(3))]
    whole = np.concatenate([np.concatenate(parts[:2], axis=2), np.concatenate(parts[2:], axis=2)], axis=1)
    return np.pad(whole, ((0, 0), (0, side - 2 * half), (0, side - 2 * half)), mode="edge")


def _tiles(own: Planes, rng: Rng) -> Planes:
    """Tiles from anywhere in other pictures."""
    count, side, _ = own.shape
    tile = max(side // FEWEST_TILES, 2)
    whole = own.copy()
    for y in range(0, side - tile + 1, tile):
        for x in range(0, side - tile + 1, tile):
            top, left = rng.integers(side - tile + 1, size=2)
            whole[:, y : y + tile, x : x + tile] = own[rng.permutation(count), top : top + tile, left : left + tile]
    return whole
