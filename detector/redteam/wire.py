"""The wire: what a query becomes on its way to a model, and what its answer becomes on the way back.

A client asks in the form that its kind of data has: a picture in 8 bits, a record in the whole numbers and cents of its
columns, an embedding in half precision. The log holds what arrived. Evidence that compares queries must hold on that.

===============  =====================================================================================
``float64``      as asked
``float32``      single precision
``float16``      half precision
``uint8``        256 levels over the value range
``jpeg``         8 bits, and through a JPEG of quality 90; square grey pictures only
``integers``     the nearest whole number
``grid``         each column on its own grid, as the natural examples have it: whole numbers, cents, codes
``decimals-N``   N decimals, 1 to 9
===============  =====================================================================================

Vectors of length one stay so: they are scaled after rounding, as a client does that normalises what it sends.

Answers: ``full``, ``decimals-N``, ``top-1`` (the label's probability alone, the rest shared evenly) or ``label``.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from detector.distribution import install
from detector.errors import ConfigError
from detector.redteam.conversation import Array
from detector.redteam.network import one_hot
from detector.redteam.pictures import digitised, side_of

if TYPE_CHECKING:
    from detector.redteam.targets import Target

INPUTS = "float64, float32, float16, uint8, jpeg, integers, grid, decimals-N"
ANSWERS = "full, decimals-N, top-1, label"
JPEG_QUALITY = 90
MOST_DECIMALS = 9

Change: TypeAlias = Callable[[Array], Array]


def _as_is(rows: Array) -> Array:
    return rows


@dataclass(frozen=True, slots=True)
class Wire:
    """What happens to queries (n, dimension) and to answers (n, classes) between a client and a model; by default nothing."""

    inputs: str = "float64"
    answers: str = "full"
    send: Change = _as_is
    reply: Change = _as_is

    def through(self, vector: Array) -> Array:
        """One query (dimension,) as it arrives."""
        return np.asarray(self.send(vector[None])[0])


DIRECT = Wire()


def usual_inputs(target: "Target") -> str:
    """How a real client of that kind of data sends it.

    >>> from detector.redteam.targets import named
    >>> usual_inputs(named("digits")), usual_inputs(named("tree:iris"))
    ('uint8', 'grid')
    """
    return {"image": "uint8", "tabular": "grid", "text": "float32"}[target.data]


def wire_for(target: "Target", inputs: str | None = None, answers: str = "full") -> Wire:
    """The wire to a model, by name; the usual one of its kind of data if none is named.

    Raises `ConfigError` for a name that is none, or that does not go with the model.

    >>> from detector.redteam.targets import named
    >>> wire_for(named("digits"), "decimals-1").through(np.array([0.26, 15.04])).tolist()
    [0.3, 15.0]
    """
    name = inputs or usual_inputs(target)
    send = _sender(name, target)
    if target.unit:
        send = _on_sphere(send)
    return Wire(name, answers, send, _answerer(answers, target.classes))


def _sender(name: str, target: "Target") -> Change:
    low, high = target.value_range
    if name == "float64":
        return _as_is
    if name in {"float32", "float16"}:
        kind = np.dtype(name)
        largest = float(np.finfo(kind).max)
        return lambda rows: np.clip(rows, -largest, largest).astype(kind).astype(np.float64)
    if name == "integers":
        return np.rint
    if name.startswith("decimals-"):
        return _rounder(name)
    if name == "uint8" and target.columns is None:
        return lambda rows: digitised(rows, (low, high), 255)
    if name == "jpeg" and target.data == "image":
        return lambda rows: np.stack([_through_jpeg(row, (low, high)) for row in rows])
    if name == "grid":
        return _grid(np.concatenate([target.attacker.vectors, target.benign.vectors, target.test]))
    raise ConfigError(f"there is no wire {name!r} for {target.data} data; there are: {INPUTS}")


def _answerer(name: str, classes: int) -> Change:
    if name == "full":
        return _as_is
    if name == "label":
        return lambda rows: one_hot(rows.argmax(axis=1), classes)
    if name == "top-1":
        return _top_only
    if name.startswith("decimals-"):
        return _rounder(name)
    raise ConfigError(f"there are no answers {name!r}; there are: {ANSWERS}")


def _rounder(name: str) -> Change:
    number = name.removeprefix("decimals-")
    if not number.isdecimal() or not 1 <= int(number) <= MOST_DECIMALS:
        raise ConfigError(f"{name}: decimals are 1 to {MOST_DECIMALS}, as in decimals-4")
    places = int(number)
    return lambda rows: np.asarray(np.round(rows, places))


def _on_sphere(send: Change) -> Change:
    def scaled(rows: Array) -> Array:
        sent = send(rows)
        return np.asarray(sent / np.maximum(np.linalg.norm(sent, axis=1, keepdims=True), 1e-12))

    return scaled


def _top_only(rows: Array) -> Array:
    classes = rows.shape[1]
    told = np.minimum(rows.max(axis=1, keepdims=True), 1.0)
    rest = (1.0 - told) / max(classes - 1, 1)
    return np.asarray(np.where(np.arange(classes) == rows.argmax(axis=1)[:, None], told, rest))


def _grid(examples: Array) -> Change:
    steps = np.array([step_of(column) for column in examples.T])
    start = examples.min(axis=0)
    safe = np.where(steps > 0.0, steps, 1.0)
    # Rounded again, so that 3 steps of 0.1 are 0.3 as a form would send it.
    return lambda rows: np.where(steps > 0.0, np.round(start + np.rint((rows - start) / safe) * safe, MOST_DECIMALS), rows)


def step_of(column: Array) -> float:
    """The step of the grid on which all values of a column lie, 0 where it has none.

    It is the least gap between two values if all gaps are multiples of it, otherwise the last decimal that the values need.

    >>> step_of(np.array([0.5, 0.0, 1.0])), step_of(np.array([1.0, 2.5, 3.24, 3.31])), step_of(np.array([0.0, np.pi, 4.0]))
    (0.5, 0.01, 0.0)
    """
    values = np.unique(column)
    gaps = np.diff(values)
    if not len(gaps):
        return 1.0 if values[0] == np.rint(values[0]) else 0.0
    least = float(gaps.min())
    multiples = (values - values[0]) / least
    if least > 1e-6 * float(np.abs(values).max()) and np.allclose(multiples, np.rint(multiples), rtol=0.0, atol=1e-3):
        return least
    for places in range(MOST_DECIMALS + 1):
        if np.allclose(values, np.round(values, places), rtol=0.0, atol=1e-3 * 10.0**-places):
            return float(10.0**-places)
    return 0.0


def _through_jpeg(picture: Array, value_range: tuple[float, float]) -> Array:
    try:
        from PIL import Image  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigError(install("images")) from None
    low, high = value_range
    side = side_of(picture.size)
    levels = np.rint((np.clip(picture, low, high) - low) / (high - low) * 255.0).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels.reshape(side, side)).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as read:
        arrived = np.asarray(read.convert("L"), np.float64)
    return np.asarray(low + arrived.ravel() * (high - low) / 255.0)
