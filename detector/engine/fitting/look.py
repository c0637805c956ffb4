"""Fitting the look: what tells pictures that are drawn in another way from those of benign clients, and of new devices.

A logistic regression compares the views of benign queries (see `evidence.look`), as they came and as other devices would send
them, with those of pictures that were drawn by formula or put together from pieces (`fitting.drawings`). Teachers' queries
train it. What is usual is learned from the clients that calibrate, and from further devices with their pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.evidence.look import FARTHEST, LEAST_SIDE, MOST_SIDE, TERMS, VIEWS, look_views
from detector.engine.fitting.drawings import Planes, drawn_by_formula, put_together
from detector.engine.fitting.jpeg import Jpeg, jpeg_of, through_jpeg
from detector.engine.fitting.lenses import lens
from detector.engine.fitting.noise import Matrix, Taught, Unheard, alone
from detector.engine.fitting.stray import LEAST_CLIENTS, fair_under, usual_under
from detector.engine.models.reference import Reference

DRAWN = 600  # pictures of each kind of drawing
PIECES = 200  # benign pictures that others are put together from
DEVICES = 48  # devices that train, and as many others that say what is usual
SEEN = 32  # pictures that each of them sees
HARDEST = 0.9  # share of the devices whose owners must not gather evidence: others are as foreign as thieves
SPREADS = (0.7, 1.0, 1.5, 2.0, 3.0)  # of the logarithm of the ratio: benign pictures of one client have much in common
LEAST_GROWTH = 0.5  # least mean logarithm of the ratio of the kind of drawing that is told best
LIKENESS = 0.7  # most that neighbours differ, as a share of what any two values of an input do: else it is no picture
WEAK = 0.1  # inverse strength of the regression's regularisation
MOST_STEPS = 300
LOOKED_AT = 2000  # rows


class Format(NamedTuple):
    """How pictures are made of inputs: `shape` as in `evidence.look.Look`, `small` the side that is looked at.

    Values differ by whole `level` in value ranges, 0 where they do not, and went through `jpeg` unless that is None.
    """

    shape: tuple[int, int, int]
    low: float
    scale: float
    small: int
    level: float
    jpeg: Jpeg | None


def fit_look(reference: Reference, taught: Taught, unheard: Unheard, seed: int) -> Reference:
    """Return the reference with what it takes to tell pictures of another kind.

    It is unchanged unless inputs are square pictures of at least `LEAST_SIDE` pixels, in grey or of three channels. It is
    unchanged, too, where fewer than `LEAST_CLIENTS` teachers or calibrating clients have unrelated queries, or where drawings
    are not told from the benign pictures.
    """
    found = None if reference.table or reference.sphere > 0.0 else format_of(reference, taught.vectors)
    if found is None:
        return reference
    teaching = alone(reference, Unheard(*taught), set())
    calibrating = alone(reference, unheard, {row.tobytes() for row in taught.vectors})
    if min(len(teaching), len(calibrating)) < LEAST_CLIENTS:
        return reference
    rng = np.random.default_rng(seed)
    own = np.concatenate([_planes(rows, found) for rows in teaching])
    clients = [_planes(rows, found) for rows in calibrating]
    others = np.concatenate(clients)
    drawings = drawn_by_formula(DRAWN, found.small, rng)
    drawings["pieces"] = put_together(_some(own, PIECES, rng), rng)
    drawn = [_views(_sent(pictures, found), found) for pictures in drawings.values()]
    devices = [_views(_sent(lens(rng)(_some(own, SEEN, rng)), found), found) for _ in range(DEVICES)]
    unseen = [_views(_sent(lens(rng)(_some(others, SEEN, rng)), found), found) for _ in range(DEVICES)]
    asked = [_views(pictures, found) for pictures in clients]
    norm, form = _form(np.concatenate([_views(own, found), *devices]), drawn, asked, unseen)
    if len(form) == 0:
        return reference
    return replace(reference, look_shape=np.array(found.shape, np.int32), look_norm=norm, look_form=form)


def format_of(reference: Reference, vectors: npt.NDArray[np.float32]) -> Format | None:
    """Return how the inputs (n, dimension) are read as pictures, None where they are none."""
    dimension = vectors.shape[1]
    rows = vectors[np.isfinite(vectors).all(axis=1)][:LOOKED_AT]
    for channels in (1, 3):
        side = math.isqrt(dimension // channels)
        if side * side * channels != dimension or side < LEAST_SIDE or len(rows) == 0:
            continue
        shape = (side, channels, int(channels == 3 and _apart(rows, side) < _apart(rows, 3 * side)))
        pixel = 1 if shape[2] else channels
        # A pattern has its like in every second place, and so has a sensor behind a pattern of colours.
        near = min(_apart(rows, step * pixel) for step in (1, 2, side, 2 * side))
        if not near < LIKENESS * 2.0 * float(rows.var(axis=1, dtype=np.float64).mean()):
            return None
        block = -(-side // MOST_SIDE)
        plain = channels == 1 and block == 1
        level = reference.grain if plain else 0.0
        return Format(
            shape,
            float(reference.offset[0]),
            float(reference.scale[0]),
            side // block,
            level,
            jpeg_of(vectors) if plain else None,
        )
    return None


def _apart(rows: npt.NDArray[np.float32], step: int) -> float:
    """Return the mean square difference of values that are so many places apart."""
    return float(np.square(rows[:, step:] - rows[:, :-step], dtype=np.float64).mean())


def _planes(vectors: npt.NDArray[np.float32], found: Format) -> Planes:
    """Return inputs (n, dimension) as pictures (n, side, side) in grey and value ranges."""
    side, channels, planar = found.shape
    ordered = (len(vectors), channels, side, side) if planar else (len(vectors), side, side, channels)
    grey = ((vectors.astype(np.float64) - found.low) * found.scale).reshape(ordered).mean(axis=1 if planar else 3)
    small, block = found.small, -(-side // MOST_SIDE)
    return np.asarray(
        grey[:, : small * block, : small * block].reshape(-1, small, block, small, block).mean(axis=(2, 4)), np.float64
    )


def _sent(pictures: Planes, found: Format) -> Planes:
    """Return pictures as they would arrive: in whole levels, and through the JPEG that clients use."""
    if found.level > 0.0:
        pictures = np.rint(pictures / found.level) * found.level
    if found.jpeg is None:
        return pictures
    unit = found.scale * found.jpeg.level
    levels = np.rint(pictures.reshape(len(pictures), -1) / unit + found.low / found.jpeg.level)
    return np.asarray((through_jpeg(levels, found.jpeg) - found.low / found.jpeg.level) * unit).reshape(pictures.shape)


def _views(pictures: Planes, found: Format) -> Matrix:
    views = np.empty((len(pictures), VIEWS))
    rows = np.ascontiguousarray(pictures.reshape(len(pictures), -1), np.float32)
    look_views(rows, (found.small, 1, 0), 0.0, 1.0, views)
    return views


def _some(pictures: Planes, count: int, rng: np.random.Generator) -> Planes:
    return pictures[rng.permutation(len(pictures))[:count]]


def _form(
    benign: Matrix, drawn: Sequence[Matrix], clients: Sequence[Matrix], devices: Sequence[Matrix]
) -> tuple[Matrix, Matrix]:
    """Return the norm of the views and the quadratic form of `evidence.look.Look`; an empty form if drawings are not told."""
    foreign = np.concatenate(drawn)
    rows = np.concatenate([benign, foreign])
    norm = np.stack([rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)])
    is_foreign = np.arange(len(rows)) >= len(benign)
    weight = np.where(is_foreign, len(benign) / len(foreign), 1.0)
    fitted = LogisticRegression(C=WEAK, max_iter=MOST_STEPS).fit(terms_of(rows, norm), is_foreign, sample_weight=weight)

    def scores(views: Matrix) -> Matrix:
        return np.asarray(fitted.decision_function(terms_of(views, norm)))

    told = [scores(views) for views in drawn]
    known, strange = [scores(views) for views in clients], [scores(views) for views in devices]
    choices = []
    for spread in SPREADS:
        fair = [fair_under(one, spread) for one in strange]
        usual = max(usual_under(known, spread), float(np.quantile(fair, HARDEST)))
        growth = [float(np.clip((one - usual) / spread, LEAST, MOST).mean()) for one in told]
        choices.append((float(np.mean(growth)), max(growth), usual, spread))
    _, best, usual, spread = max(choices)
    if best < LEAST_GROWTH:
        return norm, np.zeros(0)
    form = np.concatenate([fitted.intercept_ - usual, fitted.coef_[0]]) / spread
    return norm, form


def terms_of(views: Matrix, norm: Matrix) -> Matrix:
    """Return the terms (n, TERMS - 1) of the form: views in deviations, then products of each with itself and those before."""
    scaled = np.clip((views - norm[0]) / norm[1], -FARTHEST, FARTHEST)
    terms = np.empty((len(views), TERMS - 1))
    terms[:, :VIEWS] = scaled
    at = VIEWS
    for k in range(VIEWS):
        terms[:, at : at + k + 1] = scaled[:, k : k + 1] * scaled[:, : k + 1]
        at += k + 1
    return terms
