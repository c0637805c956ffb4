"""The pipeline one writes first, to measure the service against: one event at a time, with the libraries at hand.

Each event is decoded by the standard library, updates the Python object of its client, is described by twelve features
and scored by river's half-space trees. Nothing is computed that the features do not use.
"""

import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from river.anomaly import HalfSpaceTrees
from scipy import stats

Vector = npt.NDArray[np.float64]

HORIZONS_S = (10.0, 60.0, 600.0)
HYPERPLANES = 10
NEIGHBOURS = 64
WINDOW = 100
DECAY = 0.05


@dataclass
class Client:
    """What is remembered of one client."""

    last: float | None = None
    rates: list[float] = field(default_factory=lambda: [0.0] * len(HORIZONS_S))
    cells: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(2**HYPERPLANES, dtype=np.bool_))
    queries: deque[tuple[int, Vector]] = field(default_factory=lambda: deque(maxlen=NEIGHBOURS))
    distances: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    labels: Counter[int] = field(default_factory=Counter)
    distance_mean: float = 0.0
    distance_variance: float = 0.0
    entropy: float = 0.0
    confidence: float = 0.0


class NaivePipeline:
    """Scores native prediction events with integer times and probabilities, one JSON line after another.

    A client costs the full price once its windows are full, after some 150 events; time it warm.
    """

    def __init__(self, *, dimension: int = 30, seed: int = 0) -> None:
        """Start without clients; `seed` fixes the hyperplanes and the trees."""
        self.planes = np.random.default_rng(seed).normal(size=(HYPERPLANES, dimension))
        self.bits = 1 << np.arange(HYPERPLANES)
        self.clients: defaultdict[str, Client] = defaultdict(Client)
        self.model = HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=seed)

    def process(self, line: bytes) -> float:
        """Return the anomaly score of one event, 0 to 1, and learn from it; 0 during the model's first 250 events."""
        event = json.loads(line)
        client = self.clients[event["client"]["id"]]
        features = self._features(client, event)
        score = float(self.model.score_one(features))
        self.model.learn_one(features)
        return score

    def _features(self, client: Client, event: dict[str, Any]) -> dict[str, float]:
        """Update the client and describe it, every feature in [0, 1] as half-space trees expect."""
        vector = np.array(event["input"]["vector"])
        label = event["output"]["label"]
        probabilities = event["output"]["probabilities"]

        now = event["time"] / 1000.0
        elapsed = now - client.last if client.last is not None else 0.0
        client.last = now
        for i, horizon in enumerate(HORIZONS_S):
            client.rates[i] = client.rates[i] * math.exp(-elapsed / horizon) + 1.0 / horizon

        client.cells[(self.planes @ vector > 0) @ self.bits] = True

        distance = min(
            (float(np.linalg.norm(vector - other)) for other_label, other in client.queries if other_label == label),
            default=None,
        )
        client.queries.append((label, vector))
        if distance is not None:
            client.distances.append(distance)
            change = distance - client.distance_mean
            client.distance_mean += DECAY * change
            client.distance_variance = (1 - DECAY) * (client.distance_variance + DECAY * change * change)
        window = np.array(client.distances)
        normality = 1.0
        if len(window) >= 20 and np.ptp(window) > 0:
            normality = float(stats.shapiro(window).statistic)

        client.labels[label] += 1
        asked = client.labels.total()
        client.entropy += DECAY * (entropy(probabilities) - client.entropy)
        client.confidence += DECAY * (max(probabilities) - client.confidence)

        return {
            "rate_fast": squash(client.rates[0]),
            "rate_medium": squash(client.rates[1]),
            "rate_slow": squash(client.rates[2]),
            "coverage": float(client.cells.mean()),
            "distance": squash(distance or 0.0),
            "distance_mean": squash(client.distance_mean),
            "distance_deviation": squash(math.sqrt(client.distance_variance)),
            "normality": normality,
            "label_entropy": entropy(count / asked for count in client.labels.values()) / math.log(len(probabilities)),
            "answer_entropy": client.entropy / math.log(len(probabilities)),
            "confidence": client.confidence,
            "queries": squash(math.log1p(asked)),
        }


def entropy(shares: Iterable[float]) -> float:
    """Shannon entropy in nats of shares that sum to 1."""
    return -sum(share * math.log(share) for share in shares if share > 0)


def squash(value: float) -> float:
    """Map [0, infinity) to [0, 1)."""
    return value / (1.0 + value)
