"""Workspace: the arrays that a pass over a batch needs, kept for the next batch.

A batch of one event would otherwise spend more time on fifty new arrays than on the event. Kernels are bound to these arrays
once (see `compute`), and all columns of a batch are copied into them, so that every array has the type, the layout and the
place that the kernels were bound to. What has to outlive the pass is copied out of them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.evidence.drawn import VIEWS
from detector.engine.features.row import MEMORY, NAMES
from detector.engine.memory.admission import Admitted, Arrivals
from detector.engine.memory.conduct import QUESTIONS
from detector.engine.memory.intake import Given
from detector.engine.memory.observe import Queries, Written
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.reference import Reduced, Reference

Arrays = Mapping[str, npt.NDArray[Any]]


class Workspace(NamedTuple):
    """Arrays for a pass over n events; those of one family are grouped as its kernels take them.

    `slot` are the clients' rows and `owner` their random numbers; `ends` are the ends of the ids in their joined text. `words`
    are the bits of the inputs, `sure` and `next_sure` those of the two largest probabilities. `content` and `key` are hashes.
    `conduct` (n, questions, 4) is filled by `update_conduct`; `views` (n, VIEWS) are those of `evidence.drawn`, or the first of
    them those of `evidence.noise`. `peak` (n, channels) is the evidence after each event.
    """

    given: Given
    slot: npt.NDArray[np.int64]
    owner: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint32]
    sure: npt.NDArray[np.uint32]
    next_sure: npt.NDArray[np.uint32]
    content: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]
    arrivals: Arrivals
    admitted: Admitted
    conduct: npt.NDArray[np.float64]
    encoded: npt.NDArray[np.float32]
    reduced: Reduced
    views: npt.NDArray[np.float64]
    queries: Queries
    written: Written
    peak: npt.NDArray[np.float32]


def arrays_for(events: int, reference: Reference) -> Arrays:
    """Return the arrays of a workspace for so many events of a model, by name."""
    dimension, channels = reference.dimension, len(CHANNELS)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "vector": (np.float32, (dimension,)),
        "encoded": (np.float32, (len(reference.center),)),
        "ratio": (np.float32, (channels,)),
        "peak": (np.float32, (channels,)),
        "rows": (np.float64, (len(NAMES),)),
        "conduct": (np.float64, (len(QUESTIONS), 4)),
        "views": (np.float64, (VIEWS,)),
        "z": (np.int16, (COORDINATES,)),
        "c": (np.uint8, (SAMPLED,)),
    }
    kinds: dict[Any, str] = {
        np.int64: "sequence time slot ends position cell place evaluation reading",
        np.uint64: "digest owner content key",
        np.int32: "label",
        np.float32: "confidence runner_up weight off landmark energy noise distance",
        np.uint16: "version",
        np.uint8: "refused perturbed verdict told",
        np.bool_: "due reused repeat near flip crowded",
    }
    shapes |= {name: (kind, ()) for kind, names in kinds.items() for name in names.split()}
    arrays = {name: np.zeros((events, *shape), kind) for name, (kind, shape) in shapes.items()}
    return {**arrays, "sums": np.zeros((events if reference.summed else 0, 2), np.uint32)}


def workspace_of(arrays: Arrays, events: int, seed: npt.NDArray[np.uint64]) -> Workspace:
    """Return the workspace for so many events over the beginning of `arrays`; `seed` (clients,) are the random numbers."""
    a = {name: array[:events] for name, array in arrays.items()}
    verdict, z, c, sums = a["verdict"], a["z"], a["c"], a["sums"]
    return Workspace(
        given=Given(*(a[name] for name in Given._fields)),
        slot=a["slot"],
        owner=a["owner"],
        ends=a["ends"],
        words=a["vector"].view(np.uint32),
        sure=a["confidence"].view(np.uint32),
        next_sure=a["runner_up"].view(np.uint32),
        content=a["content"],
        key=a["key"],
        arrivals=Arrivals(a["slot"], a["time"], a["key"], a["content"], a["refused"], a["sequence"]),
        admitted=Admitted(verdict, a["position"], a["due"], a["reused"]),
        conduct=a["conduct"],
        encoded=a["encoded"],
        reduced=Reduced(z, c, a["cell"], a["off"], a["landmark"], a["energy"], sums),
        views=a["views"],
        queries=Queries(**{name: a[name] for name in Queries._fields if name != "seed"}, seed=seed),
        written=Written(a["repeat"], a["near"], a["flip"], a["distance"], a["ratio"], a["rows"], MEMORY, a["crowded"]),
        peak=a["peak"],
    )
