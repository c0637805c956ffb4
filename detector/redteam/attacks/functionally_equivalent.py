"""Functionally equivalent extraction: read a small ReLU network's weights off its kinks.

Between the kinks such a network is linear, and each kink of its first layer is a whole hyperplane, one for each hidden
unit. Walking along lines finds points on them; measuring how much the slope changes in each direction gives the unit's
weights; what is left is linear algebra.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.network import Network
from detector.redteam.setting import Setting
from detector.redteam.space import Space

DELTA = 1e-5  # of a line: the step of a slope
REACH = 1e-4  # of a range: the step of a second difference
MARGIN = 0.01  # of a range: how far from the border kinks are looked for


@dataclass(slots=True, eq=False)
class Notes:
    """Everything asked and told (logits relative to class 0), and the ridges found: unit normals and offsets."""

    mix: Array
    asked: list[Array] = field(default_factory=list)
    responses: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)


@attack(
    id="functionally_equivalent",
    title="Kinks of a ReLU network",
    family="equation solving",
    source="Jagielski et al., USENIX Security 2020, section 6",
    needs="probabilities",
)
def functionally_equivalent(setting: Setting, *, patience: int = 10) -> Conversation:
    """Functionally-equivalent extraction (Jagielski et al., USENIX Security 2020, section 6; after Milli et al., FAT* 2019).

    For networks with one hidden layer of ReLU units and a softmax. Ends when `recover` has found a network that agrees
    on everything asked; a unit costs about four queries a dimension, and those that decide nothing within the value
    range are not needed.

    Needs no data (of `pool` only the dimension is read), and probabilities with nearly all their digits: on answers
    rounded to six digits, cut off at a floor or reduced to labels, and on deeper or smooth networks, it finds kinks
    that are none and begins again for ever.
    """
    rng, space = setting.rng, setting.space
    while (yield from recover(space, setting.classes, rng, patience=patience)) is None:
        pass


def recover(
    space: Space, classes: int, rng: np.random.Generator, *, patience: int = 10, most_lines: int = 1000
) -> Generator[AskedQuery, Answer, Network | None]:
    """Recover the network, up to what a softmax cannot tell; None if `most_lines` do not explain the answers.

    Whenever `patience` lines in a row crossed no unknown ridge, the second layer is fitted; where that fails, a ridge
    is still missing, and more lines are walked. A ridge does not tell its unit's sign: the function is first fitted with
    a linear part, and signs are those that explain it. Where they do not (a unit that is active everywhere adds to it),
    the linear part stays, as two units for each class.
    """
    notes = Notes(rng.standard_normal(max(classes - 1, 1)))
    idle = 0
    for _ in range(most_lines):
        idle += 1
        for point in (yield from kinks(*_line(space, rng), notes)):
            if any(
                abs(normal @ point + offset) < 1e-6 * space.width.max()
                for normal, offset in zip(notes.normals, notes.offsets, strict=True)
            ):
                continue
            normal = yield from _normal(point, space, notes)
            if normal is not None and (yield from _holds(point, normal, space, notes, rng)):
                notes.normals.append(normal)
                notes.offsets.append(float(-normal @ point))
                idle = 0
        if idle and idle % patience == 0:
            for point in space.draw(2 * (len(notes.normals) + space.dimension + 1), rng):
                yield from _ask(point, notes)
            if (network := _assemble(notes)) is not None:
                return network
    return None


def kinks(start: Array, end: Array, notes: Notes) -> Generator[AskedQuery, Answer, list[Array]]:
    """Points between `start` and `end` where the slope changes.

    A stretch is done if both its slopes agree with its ends; it has a single kink if the two lines meet on the
    function; else it is halved. Kinks closer together than a thousandth of the line are passed over.
    """

    def value(t: float) -> Generator[AskedQuery, Answer, float]:
        responses = yield from _ask(start + t * (end - start), notes)
        return float(notes.mix @ responses)

    left, right = (yield from value(0.0)), (yield from value(1.0))
    first = ((yield from value(DELTA)) - left) / DELTA
    last = (right - (yield from value(1.0 - DELTA))) / DELTA
    found: list[Array] = []
    stretches = [(0.0, left, first, 1.0, right, last)]
    while stretches:
        a, at_a, slope_a, b, at_b, slope_b = stretches.pop()
        tolerance = 1e-7 * (1.0 + abs(slope_a) + abs(slope_b))
        if abs(slope_a - slope_b) < tolerance and abs(at_b - at_a - slope_a * (b - a)) < tolerance:
            continue
        if abs(slope_a - slope_b) >= tolerance:
            t = (at_b - at_a + slope_a * a - slope_b * b) / (slope_a - slope_b)
            if a < t < b and abs((yield from value(t)) - (at_a + slope_a * (t - a))) < tolerance:
                found.append(start + t * (end - start))
                continue
        if b - a < 1e-3:
            continue
        middle = a + 0.49 * (b - a)
        at_middle = yield from value(middle)
        slope = ((yield from value(middle + DELTA)) - at_middle) / DELTA
        stretches += [(a, at_a, slope_a, middle, at_middle, slope), (middle, at_middle, slope, b, at_b, slope_b)]
    return found


def _normal(point: Array, space: Space, notes: Notes) -> Generator[AskedQuery, Answer, Array | None]:
    """Unit normal of the ridge through `point`, from second differences; its sign is arbitrary.

    Along one axis they give a weight's size, along the sum of two axes whether two weights have one sign.
    """
    middle = yield from _ask(point, notes)
    axes = REACH * np.diag(space.width)

    def bend(direction: Array) -> Generator[AskedQuery, Answer, float]:
        up = yield from _ask(point + direction, notes)
        down = yield from _ask(point - direction, notes)
        return float(notes.mix @ (up + down - 2.0 * middle))

    sizes = np.zeros(point.size)
    for place in range(point.size):
        sizes[place] = yield from bend(axes[place])
    largest = int(np.abs(sizes).argmax())
    if sizes[largest] == 0.0:
        return None
    relative = np.abs(sizes / sizes[largest])
    signs = np.ones(point.size)
    for place in range(point.size):
        if place != largest and relative[place] > 1e-9:
            both = abs((yield from bend(axes[largest] + axes[place])) / sizes[largest])
            signs[place] = 1.0 if both > 1.0 else -1.0
    normal = signs * relative / space.width
    return np.asarray(normal / np.linalg.norm(normal))


def _holds(
    point: Array, normal: Array, space: Space, notes: Notes, rng: np.random.Generator
) -> Generator[AskedQuery, Answer, bool]:
    """Whether the ridge goes on where the normal says it does, a hundredth of the range away.

    It does not if two ridges met near the point, so that the bends of both were taken for those of one.
    """
    away = rng.standard_normal(point.size) * space.width
    away -= (away @ normal) * normal
    away *= MARGIN * space.width.min() / max(float(np.linalg.norm(away)), 1e-300)
    across = REACH * space.width.min() * normal
    bends = []
    for place in (point, space.settle(point + away)):
        up = yield from _ask(place + across, notes)
        middle = yield from _ask(place, notes)
        down = yield from _ask(place - across, notes)
        bends.append(float(notes.mix @ (up + down - 2.0 * middle)))
    return bool(np.isfinite(bends).all() and abs(bends[1] - bends[0]) < 0.1 * abs(bends[0]))


def _assemble(notes: Notes) -> Network | None:
    """Fit the second layer to everything told, and settle the units' signs."""
    X, Y = np.stack(notes.asked), np.stack(notes.responses)
    dimension, outputs, units = X.shape[1], Y.shape[1], len(notes.normals)
    inner = np.stack(notes.normals, axis=1) if units else np.zeros((dimension, 0))
    offsets = np.array(notes.offsets)
    active = np.maximum(X @ inner + offsets, 0.0)
    design = np.hstack([active, X, np.ones((len(X), 1))])
    fitted = np.linalg.lstsq(design, Y)[0]
    if not np.abs(design @ fitted - Y).max() < 1e-5 * (1.0 + np.abs(Y).max()):
        return None
    sizes = np.abs(fitted[:units]).max(axis=1, initial=0.0)
    if (idle := sizes < 1e-6 * sizes.max(initial=0.0)).any():
        kept = np.flatnonzero(~idle)
        fewer = Notes(
            notes.mix, notes.asked, notes.responses, [notes.normals[i] for i in kept], [notes.offsets[i] for i in kept]
        )
        return _assemble(fewer)
    outer, slope, bias = fitted[:units], fitted[units : units + dimension], fitted[-1]
    # relu(-z) = relu(z) - z: a unit taken the wrong way round shows as -outer * z in the linear part.
    effects = -np.einsum("du,uo->dou", inner, outer).reshape(dimension * outputs, units)
    wrong = np.rint(np.linalg.lstsq(effects, slope.ravel())[0]) if units else np.zeros(0)
    explained = np.isin(wrong, (0.0, 1.0)).all() and np.abs(effects @ wrong - slope.ravel()).max(initial=0.0) < 1e-5 * (
        1.0 + np.abs(slope).max()
    )
    if explained:
        flip = 1.0 - 2.0 * wrong
        bias = bias + (wrong * offsets) @ outer
        return _relative(inner * flip, offsets * flip, outer, bias)
    # Two ridges that were taken for a third leave it superfluous, and the signs undetermined.
    for unit in np.argsort(sizes):
        if (network := _assemble(_without(notes, unit))) is not None:
            return network
    pairs = np.hstack([inner, slope, -slope])
    return _relative(
        pairs, np.concatenate([offsets, np.zeros(2 * outputs)]), np.vstack([outer, np.eye(outputs), -np.eye(outputs)]), bias
    )


def _without(notes: Notes, units: npt.NDArray[np.intp]) -> Notes:
    left = np.delete(np.arange(len(notes.normals)), units)
    normals = [notes.normals[i] for i in left]
    return Notes(notes.mix, notes.asked, notes.responses, normals, [notes.offsets[i] for i in left])


def _relative(inner: Array, inner_bias: Array, outer: Array, bias: Array) -> Network:
    """Put back class 0, whose logits are the zero that all others are measured from."""
    return Network(inner, inner_bias, np.hstack([np.zeros((len(outer), 1)), outer]), np.concatenate([[0.0], bias]))


def _line(space: Space, rng: np.random.Generator) -> tuple[Array, Array]:
    """A random line through the space, from border to border less the margin."""
    low, high = space.low + MARGIN * space.width, space.high - MARGIN * space.width
    point = rng.uniform(low, high)
    direction = rng.standard_normal(space.dimension) * space.width
    direction = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
    bounds = np.sort(np.stack([(low - point) / direction, (high - point) / direction]), axis=0)
    return point + bounds[0].max() * direction, point + bounds[1].min() * direction


def _ask(point: Array, notes: Notes) -> Generator[AskedQuery, Answer, Array]:
    answer = yield AskedQuery(point, synthetic=True)
    logs = np.log(np.maximum(answer, 1e-300))
    responses = logs[1:] - logs[0]
    notes.asked.append(point)
    notes.responses.append(responses)
    return np.asarray(responses)
