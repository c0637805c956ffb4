"""The benign past of a simulation, and what every detector learns from it.

Known profiles play twice: teachers with the pictures of one pool, and later calibration clients with those of another. Our
baseline is fitted on this log as `detector baseline fit` does. Published detectors are fitted on queries of the teachers, and
their calibrated thresholds are the largest score of the calibration clients: the same log for all. With a profile left out,
nobody has ever seen it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline, load, save
from detector.ingest.batch import Batch
from detector.redteam.play import Player
from detector.redteam.registry import profiles_of
from detector.redteam.sessions import innocent
from detector.redteam.targets import Target
from tests.quality.fleet import fleet
from tests.quality.observed import Log, settings_for, written
from tests.quality.published.interface import PublishedDetector, Session, calibrated
from tests.quality.published.registry import lesson, published_for
from tests.quality.simulation import NEEDS_CODES, Simulation

GAP_SECONDS = 6.0
LATER_MS = 365 * 86_400_000
TEACHING_SEED, CALIBRATION_SEED = 7001, 7002


@dataclass(frozen=True, slots=True)
class Past:
    """How much benign past there is: teachers of each known profile, the queries of each client, and those of a lesson.

    Where few profiles go with the data there are more clients of each, until there are `least` in all: a threshold that one
    in ten thousand may pass is not learned from a few dozen.
    """

    teaching: int
    queries: int
    lesson: int
    least: int = 0

    def clients(self, profiles: int) -> tuple[int, int]:
        """Teachers and calibration clients of each profile: a baseline takes the first third of all clients for teachers.

        >>> Past(6, 600, 2000).clients(17), Past(6, 600, 2000, least=300).clients(7)
        ((6, 12), (15, 30))
        """
        teaching = max(self.teaching, -(-self.least // (3 * profiles)))
        return teaching, 2 * teaching


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What was learned: our baseline, and the published detectors, fitted, with their calibrated thresholds."""

    baseline: Baseline
    published: Mapping[str, PublishedDetector]
    thresholds: Mapping[str, float]


@lru_cache(maxsize=1)
def past_logs(simulation: Simulation, past: Past) -> tuple[Log, Log]:
    """Play the past of a simulation: the log of the teachers and that of the calibration clients, a year later.

    Profiles that need what the data have not (columns of codes) take no part.
    """
    before, later = (
        written(players, target, labels_only=simulation.labels_only) for target, players in past_players(simulation, past)
    )
    return before, later


def past_players(simulation: Simulation, past: Past) -> Iterator[tuple[Target, list[Player]]]:
    """Who plays the past of a simulation, and against what: the teachers first, a year later the calibration clients."""
    profiles = playable(simulation)
    teaching, calibrating = past.clients(len(profiles))
    for target, clients, seed, later in (
        (simulation.teaching, teaching, TEACHING_SEED, 0),
        (simulation.calibration, calibrating, CALIBRATION_SEED, LATER_MS),
    ):
        players = [
            innocent(profile, number, target, past.queries, GAP_SECONDS, seed)
            for profile in profiles
            for number in range(clients)
        ]
        for player in players:
            player.name += "-before" if not later else "-later"
            player.next_ms += later
        yield target, players


def playable(simulation: Simulation, wave: str = "known") -> list[str]:
    """Profiles that go with a simulation's data, by id; those about codes need columns of codes."""
    return [
        profile.id
        for profile in profiles_of(simulation.thieves.data).values()
        if profile.wave == wave and (simulation.categorical or profile.id not in NEEDS_CODES)
    ]


def learn(simulation: Simulation, past: Past, folder: Path, without: str | None = None, *, compared: bool = True) -> Knowledge:
    """Fit every detector on the past of a simulation, less the profile `without`, or take from `folder` what was fitted before.

    Unless `compared`, ours alone: the past is then played as a fleet, in a fraction of the time. Raises `BaselineError` if
    too few clients are left, `OutputError` if the folder cannot be written.
    """
    place = folder / f"{simulation.name}-{without or 'all'}"
    if not (place / "done").exists():
        if compared:
            _fit(simulation, past, place, without)
        else:
            _fit_ours(simulation, [log.batches for log in past_fleets(simulation, past)], place, without)
            (place / "done").touch()
    if not compared:
        return Knowledge(load(place / "baseline"), {}, {})
    with np.load(place / "lesson.npz", allow_pickle=False) as stored:
        taught = Session(stored["vectors"], stored["answers"])
    thresholds = json.loads((place / "thresholds.json").read_text(encoding="utf-8"))
    return Knowledge(load(place / "baseline"), _fitted(simulation, taught), thresholds)


def _fit(simulation: Simulation, past: Past, place: Path, without: str | None) -> None:
    before, later = past_logs(simulation, past)

    _fit_ours(simulation, [before.batches, later.batches], place, without)
    seed = int.from_bytes(hashlib.sha256(place.name.encode()).digest()[:4], "big")
    taught = lesson(
        [session for client, session in before.sessions.items() if profile_of(client) != without], past.lesson, seed
    )
    np.savez_compressed(place / "lesson.npz", vectors=taught.vectors, answers=taught.answers)
    judges = [session for client, session in later.sessions.items() if profile_of(client) != without]
    thresholds = {name: calibrated(detector, judges) for name, detector in _fitted(simulation, taught).items()}
    (place / "thresholds.json").write_text(json.dumps(thresholds) + "\n", encoding="utf-8")
    (place / "done").touch()


def past_fleets(simulation: Simulation, past: Past) -> list[Log]:
    """The same past for our detector alone, played as fleets."""
    return [fleet(players, target, labels_only=simulation.labels_only) for target, players in past_players(simulation, past)]


def _fit_ours(simulation: Simulation, logs: Sequence[Sequence[Batch]], place: Path, without: str | None) -> None:
    def read() -> Iterator[Batch]:
        for log in logs:
            for batch in log:
                yield batch.take(np.array([i for i, c in enumerate(batch.client) if profile_of(c) != without], np.intp))

    save(fit_baseline(read, settings_for(simulation)), place / "baseline")


def _fitted(simulation: Simulation, taught: Session) -> dict[str, PublishedDetector]:
    published = {name: one.make(simulation) for name, one in published_for(simulation.data, simulation.victim).items()}
    for detector in published.values():
        detector.fit([taught])
    return published


def profile_of(client: str) -> str:
    """The profile of an innocent client of the past, from its name: ``video-3-later``."""
    return client.rsplit("-", 2)[0]
