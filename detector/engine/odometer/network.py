"""The network: a small copy of the model, trained on what one client was told.

One hidden layer of `HIDDEN` units (ReLU), softmax, cross-entropy. Nothing but the weights is kept between two trainings, and
they are kept as float16. Sums run in a fixed order and random numbers come from a seed and a counter, so the same queries give
the same bits.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel
from detector.engine.memory.reservoir import mix

HIDDEN = 24
STEPS = 50  # of a training
FIRST_STEPS = 200  # of the first training, which starts from random weights
BATCH = 32
RATE = 5e-3
DECAY = 1e-4
SLOW, FAST = 0.1, 0.01  # how fast the means of the gradient and of its square follow (Adam)

Floats = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float16] | Floats


class Network(NamedTuple):
    """Weights: `inward` (inputs, HIDDEN), `inward_bias` (HIDDEN,), `outward` (HIDDEN, classes), `outward_bias` (classes,)."""

    inward: Weights
    inward_bias: Weights
    outward: Weights
    outward_bias: Weights

    def rounded(self) -> "Network":
        """Return the weights as they are kept, in float16."""
        return Network(*(part.astype(np.float16) for part in self))

    def widened(self) -> "Network":
        """Return a copy of the weights as they are used, in float32."""
        return Network(*(part.astype(np.float32) for part in self))


def begin(inputs: int, classes: int, seed: int) -> Network:
    """Return the weights that training starts from; they depend on the seed alone."""
    inward, outward = np.empty((inputs, HIDDEN), np.float32), np.empty((HIDDEN, classes), np.float32)
    scatter(inward, np.float32(np.sqrt(2.0 / inputs)), np.uint64(seed))
    scatter(outward, np.float32(np.sqrt(1.0 / HIDDEN)), np.uint64(seed ^ 0x5555))
    return Network(inward, np.zeros(HIDDEN, np.float32), outward, np.zeros(classes, np.float32))


def trained(network: Network, inputs: Floats, targets: Floats, seed: int, steps: int = STEPS) -> Network:
    """Return the network after a training on inputs (n, inputs) and what was told of them, (n, classes)."""
    new = network.widened()
    train(*new, inputs, targets, np.uint64(seed), steps)
    return new.rounded()


def predictions(network: Network, inputs: Floats) -> npt.NDArray[np.int64]:
    """Return the class that the network gives to each of the inputs (n, inputs)."""
    classes = np.empty(len(inputs), np.int64)
    predict(*network.widened(), inputs, classes)
    return classes


@kernel
def scatter(weights, spread, seed):
    """Fill `weights` with random numbers of this standard deviation; each is the sum of twelve, so nearly normal."""
    counter = 0
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            total = np.float32(-6.0)
            for _ in range(12):
                total += np.float32(mix(seed, counter) >> np.uint64(40)) * np.float32(1.0 / (1 << 24))
                counter += 1
            weights[i, j] = total * spread


@kernel
def train(inward, inward_bias, outward, outward_bias, inputs, targets, seed, steps):
    """Change the weights by `steps` steps of Adam, each on `BATCH` of the n inputs, drawn at random."""
    width, hidden = inward.shape
    classes = outward.shape[1]
    n = np.uint64(inputs.shape[0])
    size = width * hidden + hidden + hidden * classes + classes
    weights = np.empty(size, np.float32)
    weights[: width * hidden] = inward.ravel()
    weights[width * hidden : width * hidden + hidden] = inward_bias
    second = width * hidden + hidden
    weights[second : second + hidden * classes] = outward.ravel()
    weights[second + hidden * classes :] = outward_bias
    last = second + hidden * classes
    slope, mean, square = np.zeros((3, size), np.float32)
    unit, back, score = np.zeros(hidden, np.float32), np.zeros(hidden, np.float32), np.zeros(classes, np.float32)
    for step in range(steps):
        for k in range(size):
            slope[k] = np.float32(0.0)
        for b in range(BATCH):
            row = np.int64(mix(seed, step * BATCH + b) % n)
            for h in range(hidden):
                unit[h] = weights[width * hidden + h]
            for d in range(width):
                x = inputs[row, d]
                for h in range(hidden):
                    unit[h] += x * weights[d * hidden + h]
            for h in range(hidden):
                unit[h] = max(unit[h], np.float32(0.0))
                back[h] = np.float32(0.0)
            for c in range(classes):
                score[c] = weights[last + c]
            for h in range(hidden):
                for c in range(classes):
                    score[c] += unit[h] * weights[second + h * classes + c]
            softmax(score)
            for c in range(classes):
                score[c] = (score[c] - targets[row, c]) / np.float32(BATCH)
                slope[last + c] += score[c]
            for h in range(hidden):
                if unit[h] > np.float32(0.0):
                    for c in range(classes):
                        slope[second + h * classes + c] += unit[h] * score[c]
                        back[h] += weights[second + h * classes + c] * score[c]
                slope[width * hidden + h] += back[h]
            for d in range(width):
                x = inputs[row, d]
                for h in range(hidden):
                    slope[d * hidden + h] += x * back[h]
        for k in range(size):
            pull = slope[k]
            if k < width * hidden or second <= k < last:  # biases do not decay
                pull += np.float32(DECAY) * weights[k]
            mean[k] += np.float32(SLOW) * (pull - mean[k])
            square[k] += np.float32(FAST) * (pull * pull - square[k])
            weights[k] -= np.float32(RATE) * mean[k] / (np.sqrt(square[k]) + np.float32(1e-6))
    for d in range(width):
        for h in range(hidden):
            inward[d, h] = weights[d * hidden + h]
    for h in range(hidden):
        inward_bias[h] = weights[width * hidden + h]
        for c in range(classes):
            outward[h, c] = weights[second + h * classes + c]
    for c in range(classes):
        outward_bias[c] = weights[last + c]


@kernel
def softmax(score):
    """Turn scores (classes,) into probabilities."""
    top = score[0]
    for c in range(1, score.shape[0]):
        top = max(top, score[c])
    total = np.float32(0.0)
    for c in range(score.shape[0]):
        score[c] = np.exp(score[c] - top)
        total += score[c]
    for c in range(score.shape[0]):
        score[c] /= total


@kernel
def predict(inward, inward_bias, outward, outward_bias, inputs, classes):
    """Write the class with the highest score of each of the n inputs to `classes`; of equal ones the first."""
    hidden = inward.shape[1]
    unit = np.zeros(hidden, np.float32)
    for i in range(inputs.shape[0]):
        for h in range(hidden):
            unit[h] = inward_bias[h]
        for d in range(inward.shape[0]):
            x = inputs[i, d]
            for h in range(hidden):
                unit[h] += x * inward[d, h]
        highest = np.float32(-np.inf)
        classes[i] = 0
        for c in range(outward.shape[1]):
            score = outward_bias[c]
            for h in range(hidden):
                score += max(unit[h], np.float32(0.0)) * outward[h, c]
            if score > highest:
                highest = score
                classes[i] = c
