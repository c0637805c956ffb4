"""The published detectors by permanent id, each set up at full strength for a simulation.

Where a detector needs the victim (its training set, its inner activations, its snapshots) and the simulation has them, it gets
them. What could not be as published is said at each entry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from detector.redteam.conversation import Array
from tests.quality.published.add import Add
from tests.quality.published.blacklight import Blacklight
from tests.quality.published.hoda import Hoda, snapshots_of
from tests.quality.published.interface import PradaDetector, PublishedDetector, Session, pooled
from tests.quality.published.mmd import MmdWindow
from tests.quality.published.seat import Seat
from tests.quality.simulation import Simulation, is_perceptron, kind_of

WINDOW = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A published detector: `make` sets it up for a simulation, `fits` says whether it goes with data and victim."""

    id: str
    title: str
    make: Callable[[Simulation], PublishedDetector]
    fits: Callable[[str, str], bool]


def _always(_data: str, _victim: str) -> bool:
    return True


def _add(simulation: Simulation) -> PublishedDetector:
    network = simulation.network
    if network is None:
        return Add()

    def penultimate(X: Array) -> Array:
        return np.asarray(np.maximum(X @ network.inner + network.inner_bias, 0.0))

    return Add(penultimate, training=(simulation.thieves.encode(simulation.training.vectors), simulation.training.labels))


def _hoda(simulation: Simulation) -> PublishedDetector:
    training = simulation.training
    return Hoda(snapshots_of(simulation.thieves.encode(training.vectors), training.labels))


PUBLISHED: Mapping[str, Entry] = MappingProxyType(
    {
        one.id: one
        for one in (
            Entry("prada", "PRADA", lambda _: PradaDetector(), _always),
            # Snapshots are of a perceptron of the same shape, trained anew; of other models there are none.
            Entry("hoda", "HODA", _hoda, lambda _, victim: is_perceptron(victim)),
            # Without the victim's activations, principal components of the inputs.
            Entry("add", "ADD", _add, _always),
            Entry("seat", "SEAT, in kind", lambda _: Seat(), _always),
            # Each client is compared with itself: with one memory for all, innocents who share pictures are flagged.
            Entry(
                "blacklight",
                "Blacklight",
                lambda simulation: Blacklight(simulation.thieves.value_range, shared=False),
                lambda data, _: kind_of(data) == "image",
            ),
            # The smallest of the windows that the authors study: no client here asks 1,500 queries and more in time.
            Entry("mmd", "MMD window", lambda _: MmdWindow(WINDOW), _always),
        )
    }
)
"""Published detectors by permanent id."""


def published_for(data: str, victim: str) -> dict[str, Entry]:
    """Those that can be used against a victim on data, in the order of `PUBLISHED`.

    >>> list(published_for("loans", "forest"))
    ['prada', 'add', 'seat', 'mmd']
    """
    return {name: one for name, one in PUBLISHED.items() if one.fits(data, victim)}


def lesson(sessions: Sequence[Session], size: int, seed: int) -> Session:
    """At most `size` benign queries, drawn at random from all, as one session: what published detectors are fitted on.

    Bounded, since SEAT compares all with all. Raises ValueError if there are none.
    """
    X, _ = pooled(sessions)
    answers = np.concatenate([session.answers for session in sessions])
    rows = np.random.default_rng(seed).permutation(len(X))[:size]
    return Session(X[rows], answers[rows])
