"""Playing one cell: the same thieves and innocents before every detector.

Every instance of an attack is played by itself: one thief, alone or, where he has several accounts, among innocents. What is
measured is how many queries he had asked when a detector first acted, and how good a copy those bought him. A thief with
several accounts is met once half of them are. Innocents of one profile play all at once.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from detector.redteam.copy import best_fidelity_at
from detector.redteam.play import Player
from detector.redteam.sessions import innocent, thief
from tests.quality.fleet import fleet, parted
from tests.quality.history import GAP_SECONDS, Knowledge, Past, learn, playable
from tests.quality.observed import LEVELS, Found, Log, flagged, ours, settings_for, written
from tests.quality.pace import most_at
from tests.quality.published.interface import flagged_at, scores
from tests.quality.scenario import Innocence, Scenario, Theft
from tests.quality.simulation import Simulation, simulated

BACKGROUND = 12  # innocents around a thief with several accounts
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Size:
    """How large the table is: the benign past, and the most instances, sessions and queries of a cell.

    `copied` is of how many thieves of a cell copies are trained. Unless `compared`, published detectors stay out and clients
    play as fleets.
    """

    past: Past
    instances: int
    sessions: int
    budget: int
    copied: int
    compared: bool = True


FULL = Size(Past(teaching=6, queries=600, lesson=2000), instances=1000, sessions=1000, budget=100_000, copied=4)
SMALL = Size(Past(teaching=3, queries=600, lesson=800), instances=2, sessions=4, budget=2000, copied=1)


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a thief had come: all his queries, those since the first he made up, and how many of these were made up."""

    queries: int
    after: int
    synthetic: int


@lru_cache(maxsize=2)
def knowledge(data: str, victim: str, seed: int, real: Path | None, size: Size, folder: Path, without: str | None) -> Knowledge:
    """What all detectors know in a cell; see `learn`."""
    return learn(simulated(data, victim, seed, real), size.past, folder, without, compared=size.compared)


def play(cell: Scenario, size: Size, folder: Path, real: Path | None) -> dict[str, Any]:
    """Play a cell: plain numbers that JSON can hold, to be summed up by `tests.quality.cells`.

    `folder` keeps what detectors learned; `real` holds real data. Raises `DetectorError` where data are missing or an attack
    does not go with them.
    """
    began = time.perf_counter()
    without = cell.without if isinstance(cell, Innocence) else None
    known = knowledge(cell.data, cell.victim, cell.seed, real, size, folder, without)
    served = simulated(cell.data, cell.victim, cell.seed, real)
    played = match(cell, size, known, served)
    wire = served.thieves.wire
    told = "label" if served.labels_only else wire.answers
    return {**played, "wire": f"{wire.inputs} / {told}", "seconds": round(time.perf_counter() - began, 1)}


def match(cell: Scenario, size: Size, known: Knowledge, served: Simulation) -> dict[str, Any]:
    """Play a cell where the simulation and what is known of it are at hand."""
    if isinstance(cell, Innocence):
        return play_innocence(cell, size, known, served)
    return play_theft(cell, size, known, served)


def detections(log: Log, known: Knowledge, served: Simulation, judged: Collection[int]) -> dict[str, dict[str, Found]]:
    """When each detector first acted on each client; published ones watch those of the players `judged` only.

    Ours come as ``ours/stop``, ``ours/throttle`` and ``ours/alert``, published ones with the published and the calibrated
    threshold: ``prada/published``, ``prada/calibrated``.
    """
    levels = ours(log, settings_for(served), known.baseline.models)
    found = {f"{OURS}/{level}": levels[level] for level in reversed(LEVELS)}
    for name, detector in known.published.items():
        seen = {
            client: scores(detector, session)
            for client, session in log.sessions.items()
            if int(log.player[log.places[client][0]]) in judged
        }
        for kind, threshold in (("published", detector.threshold), ("calibrated", known.thresholds[name])):
            counts = {client: flagged_at(score, threshold) for client, score in seen.items()}
            found[f"{name}/{kind}"] = flagged(log, counts)
    return found


def moment(log: Log, found: Iterable[Found]) -> Moment | None:
    """When the thief (player 0) was met: once half of his accounts were, whose firsts `found` are; None if that never was."""
    mine = log.player == 0
    accounts = sum(1 for places in log.places.values() if log.player[places[0]] == 0)
    places = sorted(one.place for one in found if log.player[one.place] == 0)
    wanted = (accounts + 1) // 2
    if len(places) < wanted:
        return None
    at = places[wanted - 1]
    began = np.flatnonzero(mine & (log.synthetic if log.synthetic.any() else ~log.cover))
    first = int(began[0]) if len(began) else 0
    return Moment(
        queries=int(mine[: at + 1].sum()),
        after=int(mine[first : at + 1].sum()),
        synthetic=int((mine & log.synthetic)[: at + 1].sum()),
    )


def play_theft(cell: Theft, size: Size, known: Knowledge, served: Simulation) -> dict[str, Any]:
    """Play every instance of an attack: when each detector met each thief, and what he had by then."""
    moments: dict[str, list[Moment | None]] = {}
    evidence: dict[str, Counter[str]] = {level: Counter() for level in LEVELS}
    copies: dict[str, list[float]] = {}
    whole: list[float] = []
    bystanders, caught = 0, Counter(dict.fromkeys(LEVELS, 0))
    asked: list[int] = []
    made: list[int] = []
    learned: list[float | None] = []
    for number, (one, crowd, log) in enumerate(_thefts(cell, size, served)):
        found = detections(log, known, served, {0})
        now = {name: moment(log, clients.values()) for name, clients in found.items()}
        for name, when in now.items():
            moments.setdefault(name, []).append(when)
        bystanders += crowd
        for level, names in evidence.items():
            hit = found[f"{OURS}/{level}"].values()
            mine = [one for one in hit if log.player[one.place] == 0]
            names.update(one.evidence for one in mine[:1])
            caught[level] += len(hit) - len(mine)
        asked.append(len(one.vectors))
        made.append(int(sum(one.synthetic)))
        if cell.evasion:
            learned.append(most_at(one, served.thieves))
        if number < size.copied:
            reached = {
                name: when.queries if when else asked[-1] for name, when in now.items() if not name.endswith("/published")
            }
            vectors, answers = np.stack(one.vectors), np.stack(one.answers)
            target = served.thieves
            quality = best_fidelity_at(
                [*reached.values(), asked[-1]], vectors, answers, target.test, target.predict, 0, target.encode
            )
            whole.append(quality[asked[-1]])
            for name, at in reached.items():
                copies.setdefault(name, []).append(quality[at])
    return {
        "moments": {name: [None if one is None else asdict(one) for one in found] for name, found in moments.items()},
        "evidence": {level: dict(names.most_common()) for level, names in evidence.items()},
        "copies": copies,
        "whole": whole,
        "bystanders": bystanders,
        "caught": dict(caught),
        "asked": asked,
        "made": made,
        "learned": learned,
    }


def _thefts(cell: Theft, size: Size, served: Simulation) -> Iterator[tuple[Player, int, Log]]:
    """Each thief, the number of innocents around him, and the log."""
    budget, numbers = min(cell.budget, size.budget), range(min(cell.instances, size.instances))
    thieves = (thief(cell.attack, n, served.thieves, cell.disguise, budget, GAP_SECONDS, cell.seed) for n in numbers)
    if cell.disguise.accounts == 1 and not size.compared:
        together = list(thieves)
        log = fleet(together, served.thieves, labels_only=served.labels_only)
        yield from ((one, 0, alone) for one, alone in zip(together, parted(log, together), strict=True))
        return
    around = playable(served)[: BACKGROUND if cell.disguise.accounts > 1 else 0]
    for number, one in enumerate(thieves):
        crowd = [innocent(profile, number, served.evaluation, min(budget, 200), GAP_SECONDS, cell.seed) for profile in around]
        yield one, len(crowd), written([one, *crowd], served.thieves, labels_only=served.labels_only)


def play_innocence(cell: Innocence, size: Size, known: Knowledge, served: Simulation) -> dict[str, Any]:
    """Play the innocents of a profile; how many of them each detector met."""
    budget = min(cell.budget, size.budget)
    players = [
        innocent(cell.profile, number, served.evaluation, budget, GAP_SECONDS, cell.seed)
        for number in range(min(cell.sessions, size.sessions))
    ]
    play_all = written if size.compared else fleet
    log = play_all(players, served.evaluation, labels_only=served.labels_only)
    found = detections(log, known, served, range(len(players)))
    return {
        "sessions": len(players),
        "queries": len(log),
        "met": {name: len(clients) for name, clients in found.items()},
        "evidence": {
            level: dict(Counter(one.evidence for one in found[f"{OURS}/{level}"].values()).most_common()) for level in LEVELS
        },
    }
