"""Learning: the length of input of each version of a model without a baseline, and the events that wait for it.

The length of the inputs of such a model is not known beforehand, and no single event may decide it: its sender would decide for
all clients. So the events of a new version wait until there are enough of them, and the most frequent length wins. Each client
has a limited number of votes. Queries of another length are refused from then on.

Versions with inputs of one length are watched together, since a new deployment of a model has the same clients. A version with
inputs of another length is learned and watched beside the others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from detector.engine.models.reference import Reference
from detector.errors import BaselineError
from detector.ingest.batch import Batch

VOTERS = 16  # a client has at most one in so many of all votes, so that a few clients do not outvote many
LEAST_EVENTS = 64  # a model with little traffic is learned from as few events as these
MARK = "\0"  # begins every name that is not a plain model id

FENCE = 6.0
MOST_WAITING = 64  # versions of a model that wait at a time
MOST_SETTLED = 512  # versions of a model whose length of input is remembered

Row = tuple[Batch, int]  # an event: its batch and its place in the batch


@dataclass(frozen=True, slots=True)
class Patience:
    """The number of events to wait for, and the longest wait in event time where fewer come."""

    events: int
    wait_ms: int


def variant_key(model: str, dimension: int | None) -> str:
    r"""Return the name under which the state of a model's clients is kept; `dimension` None is the first length learned.

    Different variants have different names, whatever the models are called.

    >>> variant_key("fraud", None), variant_key("fraud", 9)
    ('fraud', '\x009:fraud')
    """
    if dimension is not None:
        return f"{MARK}{dimension}:{model}"
    return f"{MARK}={model}" if model.startswith(MARK) else model


@dataclass(slots=True)
class Waiting:
    """The waiting events of a version, and the votes for each length of input.

    `events` counts the usable queries so far, kept or not. Votes are counted by length and client.
    """

    batches: list[Batch] = field(default_factory=list)
    votes: dict[int, Counter[str]] = field(default_factory=dict)
    events: int = 0
    refused: int = 0
    first_ms: int = 0
    _known: set[bytes] = field(default_factory=set)
    _rows: list[Row] = field(default_factory=list)

    def meet(self, row: Row) -> bool:
        """Return True unless this repeats a waiting event; repeats would distort what is learned."""
        batch, at = row
        what = blake2b(batch.vector[at].tobytes(), digest_size=16)
        content = (batch.client[at], batch.event_id[at], batch.label[at], batch.confidence[at], batch.digest[at])
        what.update(repr(tuple(map(str, content))).encode(errors="surrogatepass"))
        digest = what.digest()
        if digest in self._known:
            return False
        self._known.add(digest)
        return True

    def vote(self, row: Row) -> None:
        """Count a usable query."""
        batch, at = row
        if self.events == 0:
            self.first_ms = int(batch.time[at])
        self.events += 1
        self.votes.setdefault(batch.vector.shape[1], Counter())[batch.client[at]] += 1

    def hold(self, row: Row) -> None:
        """Keep an event until `settle`."""
        self._rows.append(row)

    def settle(self) -> None:
        """Copy the kept events out of their batches; call it before those batches are released."""
        self.batches += [batch.take(rows) for batch, rows in by_batch(self._rows)]
        self._rows.clear()

    def release(self, dimension: int) -> list[Batch]:
        """Return, and keep no longer, the events of this length and the refused queries."""
        self.settle()
        given = [batch for batch in self.batches if batch.vector.shape[1] in {0, dimension}]
        self.batches = [batch for batch in self.batches if batch.vector.shape[1] not in {0, dimension}]
        return given

    @property
    def held(self) -> int:
        """How many events are kept."""
        return sum(map(len, self.batches)) + len(self._rows)

    def complete(self, time_ms: int, patience: Patience) -> bool:
        """Tell whether there is enough to decide."""
        if self.events >= patience.events:
            return True
        return self.events >= min(LEAST_EVENTS, patience.events) and time_ms >= self.first_ms + patience.wait_ms

    def winner(self, patience: Patience) -> int:
        """Return the length of input with most votes; of two with equal votes the one with more clients."""
        most = max(min(patience.events, self.events) // VOTERS, 1)
        votes = {
            dimension: (sum(min(count, most) for count in voters.values()), len(voters), -dimension)
            for dimension, voters in self.votes.items()
        }
        return max(votes, key=lambda dimension: votes[dimension], default=1)

    def remember(self, batches: Sequence[Batch]) -> None:
        """Restore batches that were saved while they waited."""
        self.batches = list(batches)
        for batch in self.batches:
            for at in range(len(batch)):
                self.meet((batch, at))

    def sequences(self) -> Iterator[int]:
        """Yield the stream positions of the usable events that wait."""
        for batch in self.batches:
            yield from batch.sequence[batch.refused == 0].tolist()

    @property
    def last(self) -> int:
        """The stream position of the last event that waits."""
        return max((int(batch.sequence[-1]) for batch in self.batches), default=0)


@dataclass(slots=True)
class Unknown:
    """What is known of a model without a baseline.

    `variants` maps each watched length of input to the key of its clients' state. `settled` maps each known version to its
    length. A query of a watched length is watched, whatever length its version takes.
    """

    variants: dict[int, str] = field(default_factory=dict)
    settled: dict[str | None, int] = field(default_factory=dict)
    waiting: dict[str | None, Waiting] = field(default_factory=dict)

    def settle(self, version: str | None, dimension: int) -> None:
        """Note the length of a version; beyond `MOST_SETTLED` versions the oldest are forgotten and learned again if needed."""
        if len(self.settled) >= MOST_SETTLED:
            del self.settled[next(iter(self.settled))]
        self.settled[version] = dimension

    def dimension_of(self, version: str | None, length: int) -> int:
        """Return the watched length that an event belongs to: its own, or else its version's, or else the first."""
        if length in self.variants:
            return length
        return self.settled.get(version, next(iter(self.variants)))

    def crowded(self, patience: Patience) -> Sequence[str | None]:
        """Return the version to decide on at once, if too many versions wait or too many events.

        A model whose version changes all the time would otherwise never be watched, and its waiting events would grow.
        """
        if len(self.waiting) > MOST_WAITING:
            return [next(iter(self.waiting))]
        if len(self.waiting) > 1 and sum(waiting.held for waiting in self.waiting.values()) >= 2 * patience.events:
            return [max(self.waiting, key=lambda version: self.waiting[version].held)]
        return []


def by_batch(rows: Iterable[Row]) -> list[tuple[Batch, npt.NDArray[np.intp]]]:
    """Group rows by batch: return each batch with the places of its rows."""
    places: dict[int, tuple[Batch, list[int]]] = {}
    for batch, at in rows:
        places.setdefault(id(batch), (batch, []))[1].append(at)
    return [(batch, np.array(taken, np.intp)) for batch, taken in places.values()]


def usual_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Tell for each of (n, d) inputs whether all its values are usual; a few inputs cannot change what is usual.

    A few enormous values among the first queries of a model would stretch the ranges that all later queries are compared in. A
    value is usual if it lies within `FENCE` times the interquartile range of the quartiles (Tukey's fences, but far wider).
    Where less than half of the inputs would remain, all count as usual.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.asarray(vectors, np.float64)
        if len(values) == 0:
            return np.ones(0, np.bool_)
        low, high = np.nanquantile(np.where(np.isnan(values).all(axis=0), 0.0, values), [0.25, 0.75], axis=0)
        width = high - low
        beyond = (values < low - FENCE * width) | (values > high + FENCE * width)
        usual = ~(beyond & (width > 0)).any(axis=1)
    return usual if 2 * np.count_nonzero(usual) >= len(usual) else np.ones(len(usual), np.bool_)


def in_stream_order(batches: Sequence[Batch]) -> Iterator[Row]:
    """Yield the events of several batches by their place in the stream."""
    order = sorted((int(sequence), b, at) for b, batch in enumerate(batches) for at, sequence in enumerate(batch.sequence))
    for _, b, at in order:
        yield batches[b], at


def learn_reference(batches: Sequence[Batch], dimension: int, categorical: Sequence[int], seed: int) -> Reference:
    """Learn the input space of a model from the waiting events, of which there may be none.

    `categorical` columns beyond `dimension` are ignored: they belong to another version of the model.
    """
    # Imported here: scoring under a baseline does not need scikit-learn's fitters, which take a second to load.
    from detector.engine.fitting.reference import LEAST_ROWS, fit_reference  # noqa: PLC0415

    vectors = np.concatenate([batch.vector[batch.refused == 0] for batch in batches] or [np.zeros((0, dimension))])
    vectors = vectors[usual_rows(vectors)]
    labels = len({int(label) for batch in batches for label in batch.label[batch.refused == 0]})
    known = () if any(column >= dimension for column in categorical) else categorical
    try:
        return fit_reference(vectors.astype(np.float32), labels, seed=seed, categorical=known)
    except BaselineError:
        # There are too few queries, or all are equal. Noise around them gives the input space some extent.
        rng = np.random.default_rng(seed)
        seen = np.nan_to_num(vectors.astype(np.float32)) if len(vectors) else np.zeros((1, dimension), np.float32)
        copies = np.resize(seen, (len(seen) + LEAST_ROWS, dimension))
        size = np.float32(max(float(np.abs(seen).max()) * 0.01, 1e-6))
        noisy = np.clip(copies + size * rng.standard_normal(copies.shape, np.float32), -1e38, 1e38)
        return fit_reference(noisy, labels, seed=seed)
