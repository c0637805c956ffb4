"""One theft: a thief asks a defended model, and trains copies on what he was told.

Of the copies after so many queries the best one counts: networks trained on the confidences and on the labels alone, a tree,
and a softmax regression. Fidelity is the share of fresh inputs on which it agrees with the model without the defence, for that
is what he wants to have.
"""

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from detector.errors import ConfigError, ModelError
from detector.hardening.subject import Subject
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, AskedQuery, Conversation, Labels, Predict
from detector.redteam.copy import guesses_of
from detector.redteam.play import START_MS, Player, event_line, turns
from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise, thief
from detector.redteam.targets import Target

__all__ = ["RANDOM", "USUAL", "Copy", "Loot", "copies_of", "moments_of", "steal", "usual_attacks"]

RANDOM: Final = "random"
"""The thief who asks about the examples that he holds, each once, in random order."""
USUAL: Final = (RANDOM, "knockoff_random", "uniform", "jbda", "line_search")
FIRST_MOMENT: Final = 25  # queries; copies are judged at each doubling


class Copy(NamedTuple):
    """The best copy after some queries: its fidelity, and its accuracy on true labels, None where they are not known."""

    fidelity: float
    accuracy: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Loot:
    """What a thief asked (n, dimension) and was told (n, classes), the log of it, and whether he had nothing left to ask."""

    attack: str
    vectors: Array
    answers: Array
    log: tuple[bytes, ...]
    ended: bool


def usual_attacks(target: Target) -> list[str]:
    """Return those of `USUAL` that go with a model's data; Knockoff's pictures have to be square."""
    square = np.sqrt(target.test.shape[1]) % 1.0 == 0.0
    return [
        name
        for name in USUAL
        if name == RANDOM or (target.data in ATTACKS[name].data and (square or not name.startswith("knockoff")))
    ]


def steal(
    subject: Subject, predict: Predict, attack: str, budget: int, gap: float, seed: int, told: Callable[[], None]
) -> Loot:
    """Let a thief ask `budget` queries, `gap` seconds apart in the mean; `told` hears of each.

    The log holds what he was told, as a server writes it that knows nothing of the defence. Raises `ConfigError` where the
    attack does not go with the model, and `ModelError` with attack and query where the model cannot answer.
    """
    target = replace(subject.target, predict=predict)
    player = _thief(target, attack, budget, gap, seed)
    model = subject.model_id or target.id
    log: list[bytes] = []
    try:
        for turn in turns([player], predict, target.wire):
            log.append(event_line(turn, player.name, model, digits=6))
            told()
    except ModelError as error:
        raise ModelError(f"{attack}, query {len(log) + 1}: {error}", row=error.row) from error
    if not player.vectors:
        raise ConfigError(f"{attack} asks nothing about such a model")
    return Loot(attack, np.stack(player.vectors), np.stack(player.answers), tuple(log), len(player.vectors) < budget)


def _thief(target: Target, attack: str, budget: int, gap: float, seed: int) -> Player:
    if attack != RANDOM:
        return thief(attack, 0, target, Disguise(), budget, gap, seed)
    rng = np.random.default_rng([seed, zlib.crc32(RANDOM.encode())])
    return Player("thief-random-1", RANDOM, True, _each_once(target, rng), ARRIVALS["poisson"](rng, gap), budget, START_MS)


def _each_once(target: Target, rng: np.random.Generator) -> Conversation:
    for place in rng.permutation(len(target.attacker.vectors)):
        yield AskedQuery(target.attacker.vectors[place])


def moments_of(budgets: Collection[int], asked: int) -> list[int]:
    """Return after how many queries copies are judged: at the budgets, and at doublings from 25 below the largest.

    >>> moments_of([100, 300], 1000), moments_of([100, 300], 120)
    ([25, 50, 100, 200, 300], [25, 50, 100, 120])
    """
    largest = max(budgets)
    doublings = [FIRST_MOMENT * 2**power for power in range(32) if FIRST_MOMENT * 2**power < largest]
    return sorted({min(moment, asked) for moment in (*budgets, *doublings)})


def copies_of(subject: Subject, loot: Loot, moments: Collection[int], seed: int, truth: Labels) -> dict[int, Copy]:
    """Train copies on the first so many answers and judge them; takes some tenths of a second for each moment.

    `truth` are the model's own labels of the fresh inputs, without the defence.
    """
    target = subject.target
    features, benign = target.encode(loot.vectors), target.benign
    fresh = np.concatenate([target.encode(target.test), target.encode(benign.vectors)])
    found: dict[int, Copy] = {}
    for moment in sorted(set(moments)):
        if moment < 1:
            found[moment] = Copy(0.0, 0.0 if subject.truth else None)
            continue
        guesses = guesses_of(features[:moment], loot.answers[:moment], fresh, seed, labels_too=True)
        best = max(guesses, key=lambda guess: _share(guess[: len(truth)], truth))
        accuracy = _share(best[len(truth) :], benign.labels) if subject.truth else None
        found[moment] = Copy(_share(best[: len(truth)], truth), accuracy)
    return found


def _share(guess: Labels, truth: Labels) -> float:
    return round(float((guess == truth).mean()), 4)
