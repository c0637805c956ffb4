"""ZOO: attack a picture by estimating one coordinate of the gradient at a time."""

from collections.abc import Generator

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ValueRange, draws
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(id="zoo", title="ZOO, a pixel at a time", family="score based", source="Chen et al., AISec 2017", needs="probabilities")
def zoo(setting: Setting, *, step: float = 0.005, rate: float = 0.03, rounds: int = 5) -> Conversation:
    """ZOO-ADAM, untargeted (Chen et al., AISec 2017, algorithm 2): coordinate descent on the loss of Carlini and Wagner.

    Takes a natural picture and picks random pixels; for each asks about `step` to either side, both in units of the
    value range, and moves the pixel by ADAM at `rate`. Goes on to the next picture when a probe has another label, or
    after `rounds` visits a pixel on average.

    Needs natural pictures and probabilities; the published step of 0.0001 needs unrounded ones, hence a larger one
    here. Gets nowhere where the model is so sure that the probabilities of all other labels are cut off at the same
    floor. Never ends.
    """
    pool, rng = setting.pool, setting.rng
    for index in draws(len(pool), rng):
        answer = yield AskedQuery(pool[index])
        yield from descend(pool[index], int(np.argmax(answer)), rng, setting.value_range, step=step, rate=rate, rounds=rounds)


def descend(
    picture: Array, label: int, rng: np.random.Generator, value_range: ValueRange, *, step: float, rate: float, rounds: int
) -> Generator[AskedQuery, Answer, Array]:
    """Move from `picture` until the model says something else than `label`; returns the last point."""
    lo, hi = value_range
    point = picture.copy()
    mean, square = np.zeros(point.size), np.zeros(point.size)
    visits = np.zeros(point.size)
    for _ in range(rounds * point.size):
        pixel = int(rng.integers(point.size))
        losses = []
        for sign in (1.0, -1.0):
            probe = point.copy()
            probe[pixel] = np.clip(point[pixel] + sign * step * (hi - lo), lo, hi)
            answer = yield AskedQuery(probe, synthetic=True)
            if int(np.argmax(answer)) != label:
                return probe
            losses.append(margin(answer, label))
        slope = (losses[0] - losses[1]) / (2.0 * step)
        visits[pixel] += 1
        mean[pixel] = 0.9 * mean[pixel] + 0.1 * slope
        square[pixel] = 0.999 * square[pixel] + 0.001 * slope**2
        corrected = mean[pixel] / (1.0 - 0.9 ** visits[pixel])
        spread = np.sqrt(square[pixel] / (1.0 - 0.999 ** visits[pixel]))
        point[pixel] = np.clip(point[pixel] - rate * (hi - lo) * corrected / (spread + 1e-8), lo, hi)
    return point


def margin(answer: Answer, label: int) -> float:
    """Log-probability of `label` less the largest other: positive while the model still says `label`.

    >>> round(margin(np.array([0.6, 0.3, 0.1]), 0), 4)
    0.6931
    """
    logs = np.log(np.maximum(answer, 1e-30))
    return float(logs[label] - np.delete(logs, label).max())
