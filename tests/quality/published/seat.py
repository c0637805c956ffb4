"""SEAT, which counts how often an account asks about nearly what it asked about before.

What is near is learned: an encoder maps an input and adversarial versions of it to nearly one point, and different inputs at
least a margin apart. A query whose encoding is within a small distance of an earlier one of its account forms a similar
pair; an account with fifty such pairs is cancelled.

Source: Z. Zhang, Y. Chen, D. Wagner, "SEAT: Similarity Encoder by Adversarial Training for Detecting Model Extraction Attack
Queries", ACM AISec 2021. From the authors' reference code: the contrastive loss with a margin of root 10, projected gradient
steps (20 of 0.01, within 0.1 of the value range), and the distance below which one in a thousand training inputs has its
neighbours.

It is SEAT in kind, not to the letter. The encoder is a perceptron with one hidden layer, trained from scratch, instead of the
victim's convolutional layers; its positives are the adversarial versions alone, without random transformations of pictures;
and the search for these maximises the distance of the encodings. Near means near to the nearest earlier query, so that pairs
can be counted, where the reference code averages over many neighbours and forgets an account's history after a hit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import distance

from tests.quality.published.interface import Array, Session, pooled

MARGIN = float(np.sqrt(10.0))
REACH, STEP, STEPS = 0.1, 0.01, 20


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A perceptron: `inner` (dimension, hidden), `outer` (hidden, encoding), and what to subtract and divide by first."""

    centre: Array
    scale: Array
    inner: Array
    inner_bias: Array
    outer: Array

    def encode(self, X: Array) -> Array:
        """Encodings of X (n, dimension), (n, encoding)."""
        return np.asarray(self._hidden(X) @ self.outer)

    def pull(self, X: Array, toward: Array) -> Array:
        """Gradient of ``encode(X) @ toward``, row by row, with respect to the rows, (n, dimension)."""
        awake = self._hidden(X) > 0.0
        return np.asarray(((toward @ self.outer.T) * awake) @ self.inner.T / self.scale)

    def _hidden(self, X: Array) -> Array:
        return np.asarray(np.maximum((X - self.centre) / self.scale @ self.inner + self.inner_bias, 0.0))


class Seat:
    """SEAT; the score is how many of the account's queries have formed a similar pair so far.

    When it works: queries are made from each other by small steps. When it does not: natural or foreign queries, which have no
    near neighbours; and innocents who repeat themselves (retries, video, load tests, sliders) are cancelled after fifty
    repetitions. An attacker who changes accounts pays one account for as many queries as bring fifty pairs.

    Parameters
    ----------
    encoder
        What maps inputs to encodings; trained by `fit` unless given.
    pairs
        An account is flagged from this many on.
    percentile
        Of the distances between benign inputs and their nearest others; within it two queries are similar.

    """

    def __init__(
        self, encoder: Encoder | None = None, *, pairs: int = 50, percentile: float = 0.1, epochs: int = 30, seed: int = 0
    ) -> None:
        """Keep the parameters; `fit` finds the encoder and the distance."""
        if pairs < 1 or not 0.0 <= percentile <= 100.0:
            raise ValueError("pairs are at least 1 and the percentile is between 0 and 100")
        self.threshold = float(pairs - 1)
        self.percentile = percentile
        self.epochs = epochs
        self.seed = seed
        self._given = encoder
        self._encoder = encoder
        self._near = np.nan

    @property
    def near(self) -> float:
        """Encodings up to this far apart are similar. Raises ValueError before `fit`."""
        if np.isnan(self._near):
            raise ValueError("SEAT has not been fitted")
        return self._near

    def fit(self, sessions: Sequence[Session]) -> None:
        """Train the encoder on the different benign queries, unless it is given, and find how far apart they are.

        Exact repeats are left out, as there are none in a training set. Raises ValueError for fewer than two.
        """
        X = np.unique(pooled(sessions)[0], axis=0)
        if len(X) < 2:
            raise ValueError("SEAT needs at least two different benign queries")
        self._encoder = self._given or trained(X, epochs=self.epochs, seed=self.seed)
        apart = distance.squareform(distance.pdist(self._encoder.encode(X)))
        np.fill_diagonal(apart, np.inf)
        self._near = float(np.percentile(apart.min(axis=1), self.percentile))

    def watch(self) -> "_SeatWatch":
        """Begin with an account that has asked nothing."""
        if self._encoder is None:
            raise ValueError("SEAT has not been fitted")
        return _SeatWatch(self._encoder, self.near)


class _SeatWatch:
    def __init__(self, encoder: Encoder, near: float) -> None:
        self._encoder = encoder
        self._near = near
        self._history = np.empty((64, encoder.outer.shape[1]))
        self._queries = 0
        self._pairs = 0

    def observe(self, vector: Array, answer: Array) -> float:
        del answer
        encoding = self._encoder.encode(vector[None])[0]
        if self._queries:
            nearest = np.square(self._history[: self._queries] - encoding).sum(axis=1).min()
            self._pairs += bool(nearest <= self._near**2)
        if self._queries == len(self._history):
            self._history = np.concatenate([self._history, np.empty_like(self._history)])
        self._history[self._queries] = encoding
        self._queries += 1
        return float(self._pairs)


def trained(
    X: Array, *, hidden: int = 64, encoding: int = 32, epochs: int = 30, batch: int = 64, rate: float = 1e-3, seed: int = 0
) -> Encoder:
    """Train an encoder on X (n, dimension), n >= 2, by Adam: an input's adversarial versions near it, other inputs far away.

    The value range is that of each column. With f the encoder, x' an adversarial version and x'' another input, the loss is
    ``|f(x) - f(x')|^2 + max(0, 10 - |f(x) - f(x'')|^2)``.
    """
    rng = np.random.default_rng(seed)
    reach, deviation = np.ptp(X, axis=0), X.std(axis=0)
    scale = np.where(deviation > 0.0, deviation, 1.0)
    values = [
        rng.normal(0.0, np.sqrt(2.0 / X.shape[1]), (X.shape[1], hidden)),
        np.zeros(hidden),
        rng.normal(0.0, np.sqrt(1.0 / hidden), (hidden, encoding)),
    ]
    mean, square = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    centre, turn = X.mean(axis=0), 0
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(X)), max(1, len(X) // batch)):
            encoder = Encoder(centre, scale, values[0], values[1], values[2])
            anchor = X[rows]
            other = X[(rows + rng.integers(1, len(X), len(rows))) % len(X)]
            gradients = _gradients(encoder, anchor, adversarial(encoder, anchor, reach, rng), other)
            turn += 1
            for i, gradient in enumerate(gradients):
                mean[i] += 0.1 * (gradient - mean[i])
                square[i] += 0.001 * (gradient**2 - square[i])
                size = rate * np.sqrt(1.0 - 0.999**turn) / (1.0 - 0.9**turn)
                values[i] = values[i] - size * mean[i] / (np.sqrt(square[i]) + 1e-8)
    return Encoder(centre, scale, values[0], values[1], values[2])


def adversarial(encoder: Encoder, X: Array, reach: Array, rng: np.random.Generator) -> Array:
    """Versions of X (n, dimension) within a tenth of `reach` (dimension,) whose encodings are as far away as can be found.

    Projected gradient ascent by signs (Madry et al., ICLR 2018, equation 2) from a random start, since the gradient is zero
    at X itself.
    """
    home = encoder.encode(X)
    moved = X + STEP * reach * rng.uniform(-1.0, 1.0, X.shape)
    for _ in range(STEPS):
        moved = moved + STEP * reach * np.sign(encoder.pull(moved, encoder.encode(moved) - home))
        moved = np.clip(moved, X - REACH * reach, X + REACH * reach)
    return np.asarray(moved)


def _gradients(encoder: Encoder, anchor: Array, same: Array, other: Array) -> tuple[Array, Array, Array]:
    """Gradients of the mean loss with respect to `inner`, `inner_bias` and `outer`."""
    Z = [(X - encoder.centre) / encoder.scale for X in (anchor, same, other)]
    hidden = [np.maximum(z @ encoder.inner + encoder.inner_bias, 0.0) for z in Z]
    codes = [h @ encoder.outer for h in hidden]
    attract, repel = codes[0] - codes[1], codes[0] - codes[2]
    active = (np.square(repel).sum(axis=1) < MARGIN**2)[:, None]
    repel = repel * active
    count = len(anchor)
    slopes = [2.0 * (attract - repel) / count, -2.0 * attract / count, 2.0 * repel / count]
    outer = sum(h.T @ s for h, s in zip(hidden, slopes, strict=True))
    back = [(s @ encoder.outer.T) * (h > 0.0) for h, s in zip(hidden, slopes, strict=True)]
    inner = sum(z.T @ b for z, b in zip(Z, back, strict=True))
    return np.asarray(inner), np.asarray(sum(b.sum(axis=0) for b in back)), np.asarray(outer)
