"""What a test of ownership finds and what it does not: independent models, copies, thieves who hide; detection beside marks."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from detector import Detector, fit_baseline
from detector.config import Config
from detector.ownership.ranking import counterfeit_keys, rank_p, scores
from detector.perturb.tilt import draw, tilted
from detector.redteam.attacks.jbda import jbda
from detector.redteam.attacks.knockoff import knockoff_random
from detector.redteam.attacks.line_search import line_search
from detector.redteam.conversation import Conversation, converse
from detector.redteam.network import one_hot
from detector.redteam.sessions import Disguise, innocent, play, thief
from detector.redteam.setting import Setting
from detector.redteam.targets import Target, named
from tests.quality.ownership_worlds import Array, World, copies, fitted, innocents, inputs_for, pull_of, told_by

__all__ = [
    "Cost",
    "Found",
    "attacked",
    "averaged",
    "beside_detection",
    "changed_for",
    "cost_of",
    "found_among_copies",
    "innocent_ps",
]

ATTACKS: Final[dict[str, Callable[[Setting], Conversation]]] = {
    "Knockoff": knockoff_random,
    "JbDA": jbda,
    "line search": line_search,
}
MOST: Final = 700


class Found(NamedTuple):
    """One copy: its p-value by labels, and on how many fresh inputs it agrees with the model."""

    p: float
    fidelity: float


class Cost(NamedTuple):
    """What a mark costs the honest: the mean strength, labels that change, and accuracy without and with it."""

    strength: float
    flips: float
    plain: float
    marked: float


def cost_of(world: World, keys: int = 20) -> Cost:
    """Measure on fresh inputs, over many keys."""
    own = world.predict(world.fresh)
    told = [told_by(world, f"client:{at}", world.fresh).argmax(axis=1) for at in range(keys)]
    tilts = draw([world.key(f"client:{at}") for at in range(keys)], world.fresh.shape[1], world.classes)
    strength = float(world.strengths.of(tilts).mean())
    flips = float(np.mean([(one != own.argmax(axis=1)).mean() for one in told]))
    marked = float(np.mean([(one == world.fresh_truth).mean() for one in told]))
    return Cost(strength, flips, float((own.argmax(axis=1) == world.fresh_truth).mean()), marked)


def innocent_ps(world: World, count: int, keys: int, counterfeits: int, seed: int) -> Array:
    """P-values of independent models under keys that nobody copied anything under: (keys, models)."""
    asked = inputs_for(world, world.pool, MOST, own=True)
    X = asked.X.astype(np.float64)
    answers = np.stack([one_hot(one(X).argmax(axis=1), world.classes) for one in innocents(world, count, seed)])
    named = [world.key(f"client:{seed}-{at}") for at in range(keys)]
    found = scores(asked, [*named, *counterfeit_keys(bytes([seed]), counterfeits)], answers)
    others = np.sort(found[keys:], axis=0)
    ranked = [len(others) - np.searchsorted(others[:, at], found[:keys, at]) for at in range(count)]
    return np.array([(1 + above) / (1 + len(others)) for above in ranked]).T


def changed_for(world: World, queries: int, seed: int) -> int:
    """Return how many labels of a client's queries its key changed."""
    X = world.pool[:queries]
    return int((told_by(world, f"client:{seed}", X).argmax(axis=1) != world.predict(X).argmax(axis=1)).sum())


def found_among_copies(world: World, queries: int, counterfeits: int, seed: int) -> dict[str, Found]:
    """Copies of every kind by a thief with examples of the domain."""
    X = world.pool[:queries]
    made = copies(world, X, told_by(world, f"client:{seed}", X), world.log, seed)
    return _tested(world, X, made, counterfeits, seed)


def attacked(world: World, queries: int, counterfeits: int, seed: int) -> dict[str, tuple[Found, Found]]:
    """Copies trained on the labels that attacks were told: tested with the client's own inputs, and without."""
    found = {}
    for name, attack in ATTACKS.items():
        setting = Setting(world.pool[:300], world.truth[:300], np.random.default_rng(seed), (0.0, 16.0), world.classes)
        X, told, _ = converse(attack(setting), lambda rows: told_by(world, f"client:{seed}", rows), queries)
        made = {name: fitted(X, one_hot(told.argmax(axis=1), world.classes), seed=seed).probabilities}
        with_own = _tested(world, X, made, counterfeits, seed)[name]
        found[name] = with_own, _tested(world, X, made, counterfeits, seed, own=False)[name]
    return found


def averaged(world: World, queries: int, accounts: int, counterfeits: int, seed: int) -> tuple[float, float]:
    """A thief with several accounts, a key each: the smallest p, corrected, where inputs are dealt, and answers averaged."""
    X = world.pool[:queries]
    told = [told_by(world, f"client:{seed}-{at}", X) for at in range(accounts)]
    keys = [world.key(f"client:{seed}-{at}") for at in range(accounts)]
    dealt = np.array([told[at % accounts][at] for at in range(len(X))])
    smallest = []
    asked = inputs_for(world, X, MOST, own=True)
    for answers in (dealt, np.mean(told, axis=0)):
        copy = fitted(X, one_hot(answers.argmax(axis=1), world.classes), seed=seed).probabilities
        labels = one_hot(copy(asked.X.astype(np.float64)).argmax(axis=1), world.classes)
        found = scores(asked, [*keys, *counterfeit_keys(bytes([seed]), counterfeits)], labels[None])[:, 0]
        smallest.append(min(1.0, accounts * min(rank_p(float(one), found[accounts:]) for one in found[:accounts])))
    return smallest[0], smallest[1]


def _tested(
    world: World, X: Array, made: Mapping[str, Callable[[Array], Array]], counterfeits: int, seed: int, *, own: bool = True
) -> dict[str, Found]:
    asked = inputs_for(world, X, MOST, own=own)
    inputs = asked.X.astype(np.float64)
    answers = np.stack([one_hot(copy(inputs).argmax(axis=1), world.classes) for copy in made.values()])
    keys = [world.key(f"client:{seed}"), *counterfeit_keys(bytes([seed]), counterfeits)]
    found = scores(asked, keys, answers)
    truth = world.predict(world.fresh).argmax(axis=1)
    return {
        name: Found(rank_p(float(found[0, at]), found[1:, at]), float((copy(world.fresh).argmax(axis=1) == truth).mean()))
        for at, (name, copy) in enumerate(made.items())
    }


WAYS: Final = ("plain", "told", "original")
"""No marks; marks, and the log of what was told; marks, and the model server's log, which knows nothing of them."""

THIEVES: Final = ("line_search", "jbda", "hopskipjump", "uniform", "knockoff_random")


def beside_detection(world: World, budget: int, each: int, seed: int) -> dict[str, tuple[float, ...]]:
    """Queries until each thief is stopped (the budget where never), for each way to log; means over thieves.

    `innocents` is the share of honest sessions that are stopped.
    """
    target = named("digits", seed)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "benign.jsonl"
        roles = _profiles()
        honest = [innocent(role, number, target, 150, 5.0, 10 + seed) for role in roles for number in range(4)]
        log.write_bytes(b"".join(line + b"\n" for line, _ in _stripped(play(honest, target))))
        baseline = fit_baseline(log)
    found: dict[str, list[tuple[float, ...]]] = {role: [] for role in (*THIEVES, "innocents")}
    for number in range(each):
        for role in THIEVES:
            found[role].append(tuple(_stopped(baseline, target, world, (role, number), budget, logged=way) for way in WAYS))
    for role in roles:
        ends = [_stopped(baseline, target, world, (role, 50), budget, logged=way) for way in WAYS]
        found["innocents"].append(tuple(float(end < budget) for end in ends))
    return {role: tuple(np.mean(one, axis=0).tolist()) for role, one in found.items()}


def _profiles() -> list[str]:
    from detector.redteam.registry import PROFILES  # noqa: PLC0415  # a table of many functions

    return [role for role, profile in PROFILES.items() if "image" in profile.data][:8]


def _stripped(lines: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for line, truth in lines:
        yield line.strip(), truth


def _stopped(baseline: Any, target: Target, world: World, who: tuple[str, int], budget: int, *, logged: str) -> float:
    """Return how many queries a client made until it was stopped, the budget where it was not."""
    role, number = who
    marked = logged != "plain"
    subject = f"client:{role}-{number}"

    def told(X: Array) -> Array:
        return tilted(target.predict(X), pull_of(world, subject, X), 1.0)

    served = replace(target, predict=told) if marked else target
    if role in THIEVES:
        player = thief(role, number, served, Disguise(), budget, 5.0, 3)
    else:
        player = innocent(role, number, served, budget, 5.0, 3)
    events = [json.loads(line) for line, _ in play([player], served)]
    for event in events if marked else ():
        vector = np.array(event["input"]["vector"], np.float64)[None]
        own = target.predict(vector)[0]
        name = {"id": hashlib.sha256(subject.encode()).hexdigest()[:16], "subject": subject, "epoch": "1"}
        original = {"label": int(own.argmax()), "probabilities": own.tolist()}
        if logged == "original":
            event["output"] = original
        else:
            event["output"] |= {"perturbed": {"mode": "none", "mark": name}, "original": original}
    _, decisions = Detector(baseline, Config()).observe(events)
    stops = [one.issued_ms for one in decisions if one.action in {"perturb", "block"}]
    if not stops:
        return float(budget)
    times = [_ms(event["time"]) for event in events]
    return float(sum(time <= min(stops) for time in times))


def _ms(time: Any) -> int:
    from detector.contracts.moment import event_ms  # noqa: PLC0415  # used here alone

    return event_ms(time)
