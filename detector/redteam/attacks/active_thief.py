"""ActiveThief: of a pool of unlabelled examples, ask about those that would teach the copy most."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, Labels
from detector.redteam.deepfool import deepfool_distances
from detector.redteam.entries import attack
from detector.redteam.foreign_pools import foreign_pool
from detector.redteam.k_center import greedy_k_center
from detector.redteam.network import Network, train
from detector.redteam.setting import Setting


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What a selection may look at: the copy, trained when asked for; encoded inputs, answers, and inputs not asked yet."""

    copy: Callable[[], Network]
    asked: Array
    responses: Array
    left: Array


Selection: TypeAlias = Callable[[Knowledge, int], Labels]


def uncertainty(known: Knowledge, count: int) -> Labels:
    """The highest entropy under the copy (Lewis, Gale 1994; ActiveThief)."""
    p = np.maximum(known.copy().probabilities(known.left), 1e-12)
    return np.argsort((p * np.log(p)).sum(axis=1), kind="stable")[:count]


def k_center_outputs(known: Knowledge, count: int) -> Labels:
    """The copy's output is the farthest from every answer so far (Sener, Savarese, ICLR 2018)."""
    return greedy_k_center(known.copy().probabilities(known.left), known.responses, count)[0]


def k_center_inputs(known: Knowledge, count: int) -> Labels:
    """The input is the farthest from every one so far: coverage that needs no answers at all."""
    return greedy_k_center(known.left, known.asked, count)[0]


def dfal(known: Knowledge, count: int) -> Labels:
    """The smallest DeepFool change flips the copy (Ducoffe, Precioso 2018, arXiv 1802.09841)."""
    return np.argsort(deepfool_distances(known.copy(), known.left, iterations=3), kind="stable")[:count]


def dfal_k_center(known: Knowledge, count: int) -> Labels:
    """Of the eight times `count` easiest to flip, those whose outputs cover best."""
    close = dfal(known, 8 * count)
    return np.asarray(close[greedy_k_center(known.copy().probabilities(known.left[close]), known.responses, count)[0]])


SELECTIONS: Mapping[str, Selection] = MappingProxyType(
    {
        "uncertainty": uncertainty,
        "k_center_outputs": k_center_outputs,
        "k_center_inputs": k_center_inputs,
        "dfal": dfal,
        "dfal_k_center": dfal_k_center,
    }
)
"""Selections by name."""


def active_thief(
    setting: Setting, *, selection: str = "uncertainty", foreign: int = 0, seeds: int = 20, batch: int = 10
) -> Conversation:
    """ActiveThief (Pal et al., AAAI 2020, algorithm 1): random seeds, then rounds of `batch` examples by `selection`.

    The examples are those of the pool or, with `foreign`, that many pictures of another world (`foreign_pools`), the
    attack's own setting. Each round trains a copy from scratch on all answers. Queries are natural in the sense of
    `AskedQuery`: nothing is made, only chosen, so in-distribution selection leaves few traces.

    Needs many natural examples; labels do, probabilities teach more. Ends when every example has been asked about.
    Raises ValueError at the first query if there is none, or if foreign pictures are wanted and the dimension is not a
    square picture's.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    examples = foreign_pool(foreign, pool.shape[1], rng, setting.value_range) if foreign else pool
    if len(examples) == 0:
        raise ValueError("the attack needs natural examples to choose from")
    encoded = space.encode(examples)
    left = rng.permutation(len(examples))
    asked: list[int] = []
    responses: list[Array] = []
    chosen = np.arange(min(seeds, len(left)))
    while True:
        for index in left[chosen]:
            answer = yield AskedQuery(examples[index])
            asked.append(int(index))
            responses.append(answer)
        left = np.delete(left, chosen)
        if len(left) == 0:
            return
        answers = np.stack(responses)
        copy = cache(partial(train, encoded[asked], answers, rng, steps=200))
        chosen = SELECTIONS[selection](Knowledge(copy, encoded[asked], answers, encoded[left]), batch)


_TITLES = {
    "uncertainty": "uncertain examples",
    "k_center_outputs": "k-center on outputs",
    "k_center_inputs": "k-center on inputs",
    "dfal": "DeepFool selection",
    "dfal_k_center": "DeepFool selection, then k-center",
}
_declare = partial(attack, family="active learning", source="Pal et al., AAAI 2020")
for _name, _title in _TITLES.items():
    _declare(id=f"active_{_name}", title=f"ActiveThief, {_title}", data=("image", "tabular", "text"))(
        partial(active_thief, selection=_name)
    )
for _name in ("uncertainty", "k_center_outputs", "k_center_inputs", "dfal"):
    _declare(id=f"active_{_name}_foreign", title=f"ActiveThief, {_TITLES[_name]} of a foreign pool")(
        partial(active_thief, selection=_name, foreign=600)
    )
