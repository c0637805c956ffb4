"""Prediction logs to measure throughput with: native events as JSON lines, from many clients at a known rate.

Only the cost of an event matters here, so the traffic is plain: every client asks about Gaussian data around one centre
a class and is told a label and probabilities that follow from it. Nobody steals anything.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import orjson

START_MS = 1_700_000_000_000
RATE_PER_S = 10_000.0
_CENTRES = 20_161  # seed of the task that everybody asks about

Floats = npt.NDArray[np.float64]

# What a value looks like: reals in a table, 256 grey levels in a picture, vectors of one length among embeddings.
KINDS: Mapping[str, tuple[int, Callable[[Floats], Floats]]] = {
    "table": (30, lambda rows: rows),
    "picture": (196, lambda rows: np.clip(np.rint(128.0 + 30.0 * rows), 0.0, 255.0)),
    "embedding": (384, lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)),
}

# Several thousand events a step keep the arrays in cache and the memory beside the log itself small.
_CHUNK = 8192


def make_log(
    events: int,
    clients: int,
    *,
    first: int = 0,
    kind: str = "table",
    dimension: int | None = None,
    classes: int = 10,
    zipf: float | None = None,
    seed: int = 0,
) -> list[bytes]:
    """Return `events` native prediction events, one JSON object each without a line end, in order of time.

    They are the events from number `first` on of an endless stream: ids count from there, and so do the times.

    Clients are drawn uniformly, or with probability proportional to rank ** -zipf (1.1 is a few loud clients and a long
    tail). Times are those of a Poisson process of 10,000 events a second over all clients, in whole milliseconds.
    Vectors and probabilities are float32 values printed in full, as Python prints them: about 950 bytes an event at the
    defaults. `kind` is one of `KINDS`, which says how many values a vector has unless `dimension` does, and what they look
    like. The same arguments give the same bytes. The centres are the same for every seed, so that one log can be
    the baseline of another.

    >>> line = make_log(3, 2, dimension=2, classes=2)[0]
    >>> event = orjson.loads(line)
    >>> sorted(event)
    ['client', 'event_id', 'input', 'model', 'output', 'time']
    >>> len(event["input"]["vector"]), len(event["output"]["probabilities"])
    (2, 2)
    """
    rng = np.random.default_rng([seed, first])
    usual, shaped = KINDS[kind]
    centres = np.random.default_rng(_CENTRES).normal(size=(classes, dimension or usual)) * 2.0
    names = [f"c{i:06d}" for i in range(clients)]
    weights = np.arange(1, clients + 1) ** -(zipf or 0.0)
    shares = np.cumsum(weights) / weights.sum()
    log: list[bytes] = []
    clock = START_MS + first * 1000.0 / RATE_PER_S
    for at in range(first, first + events, _CHUNK):
        n = min(_CHUNK, first + events - at)
        times = clock + np.cumsum(rng.exponential(1000.0 / RATE_PER_S, n))
        clock = float(times[-1])
        who = np.minimum(np.searchsorted(shares, rng.random(n), side="right"), clients - 1)
        log.extend(
            orjson.dumps(
                {
                    "event_id": f"e{number:08d}",
                    "time": time,
                    "client": {"id": names[client]},
                    "model": {"id": "bench"},
                    "input": {"vector": vector},
                    "output": {"label": label, "probabilities": probabilities},
                }
            )
            for number, time, client, (vector, label, probabilities) in zip(
                range(at, at + n),
                times.astype(np.int64).tolist(),
                who.tolist(),
                _answers(centres, n, rng, shaped),
                strict=True,
            )
        )
    return log


def _answers(
    centres: Floats, n: int, rng: np.random.Generator, shaped: Callable[[Floats], Floats]
) -> Iterator[tuple[list[float], int, list[float]]]:
    """Queries around the centres, with what a soft nearest-centre classifier says of them."""
    classes, dimension = centres.shape
    vectors = centres[rng.integers(classes, size=n)] + rng.normal(size=(n, dimension))
    # Half the squared distance to each centre, less the part that all classes share.
    costs = 0.5 * np.square(centres).sum(axis=1) - vectors @ centres.T
    probabilities = np.exp((costs.min(axis=1, keepdims=True) - costs) / (3.0 * dimension**0.5))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = probabilities.argmax(axis=1)
    return zip(
        shaped(vectors).astype(np.float32).tolist(),
        labels.tolist(),
        probabilities.astype(np.float32).tolist(),
        strict=True,
    )
