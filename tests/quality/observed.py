"""Logs as everybody sees them: the engine as batches, published detectors as sessions, both from the same lines.

Played clients write lines as a server would, rounded and in the order of time. The lines are read once by the service's own
ingest and once into arrays, so no detector is shown more than another.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.clock import HeldClock
from detector.engine.policy import ALERT, PERTURB, THROTTLE, PolicySettings
from detector.engine.shard import EngineSettings, ModelBaseline, Shard
from detector.ingest.assemble import Assembler
from detector.ingest.batch import Batch
from detector.redteam.conversation import Array
from detector.redteam.play import Player
from detector.redteam.sessions import play
from detector.redteam.targets import Target
from tests.quality.published.interface import Session
from tests.quality.simulation import Simulation

END_OF_TIME_MS = 4_000_000_000_000
LEVELS = {"alert": ALERT, "throttle": THROTTLE, "stop": PERTURB}
PIECE = 2000  # lines assembled at a time


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """A log of n events: `batches` for the engine; for the others the `sessions` by client, and the `places` of theirs.

    `places` (m,) are the positions of a client's events in the log. `player` (n,) is the number of the player behind each
    event, `synthetic` and `cover` (n,) the truth about it.
    """

    batches: tuple[Batch, ...]
    sessions: Mapping[str, Session]
    places: Mapping[str, npt.NDArray[np.int64]]
    player: npt.NDArray[np.int64]
    synthetic: npt.NDArray[np.bool_]
    cover: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.player)


@dataclass(frozen=True, slots=True)
class Found:
    """When a client first met a level: position in the log, and the name of the evidence."""

    place: int
    evidence: str


def written(players: Sequence[Player], target: Target, *, labels_only: bool = False) -> Log:
    """Play clients against a model and read the log; raises `ConfigError` as `play` does.

    Features of records are brought to one scale for the published detectors (`Target.encode`), which know no columns.
    """
    assembler = Assembler(HeldClock(END_OF_TIME_MS))
    numbers = {player.name: number for number, player in enumerate(players)}
    batches: list[Batch] = []
    lines: list[bytes] = []
    vectors: dict[str, list[Array]] = {}
    answers: dict[str, list[Array]] = {}
    places: dict[str, list[int]] = {}
    truth: list[tuple[int, bool, bool]] = []

    def assemble() -> None:
        found, refused, _ = assembler.assemble(lines, "played", first_line=1, first_sequence=len(truth) - len(lines))
        if refused:
            raise ValueError(f"a played client wrote what ingest refuses: {refused[0].detail}")
        batches.extend(found)
        lines.clear()

    for line, told in play(players, target):
        event, known = json.loads(line), json.loads(told)
        client = event["client"]["id"]
        vectors.setdefault(client, []).append(np.array(event["input"]["vector"]))
        answers.setdefault(client, []).append(np.array(event["output"]["probabilities"]))
        places.setdefault(client, []).append(len(truth))
        truth.append((numbers[event["event_id"].rpartition("#")[0]], known["synthetic"], known["cover"]))
        if labels_only:
            del event["output"]["probabilities"]
            line = json.dumps(event, separators=(",", ":")).encode()  # noqa: PLW2901  # the same event, as such a server logs it
        lines.append(line)
        if len(lines) == PIECE:
            assemble()
    assemble()
    return Log(
        batches=tuple(batches),
        sessions={
            client: Session(target.encode(np.stack(rows)), np.stack(answers[client]), client)
            for client, rows in vectors.items()
        },
        places={client: np.array(rows, np.int64) for client, rows in places.items()},
        player=np.array([number for number, _, _ in truth], np.int64),
        synthetic=np.array([made for _, made, _ in truth], np.bool_),
        cover=np.array([cover for _, _, cover in truth], np.bool_),
    )


def settings_for(simulation: Simulation, policy: PolicySettings | None = None) -> EngineSettings:
    """The engine's settings in a simulation: the default policy, and which columns hold codes."""
    return EngineSettings(
        policy=policy or PolicySettings(shadow=False), categorical={simulation.thieves.id: simulation.categorical}
    )


def ours(log: Log, settings: EngineSettings, baseline: Mapping[str, ModelBaseline]) -> dict[str, dict[str, Found]]:
    """Run the engine over a log: for each of `LEVELS`, when it was first reached, by client."""
    shard = Shard(settings, baseline)
    outputs = shard.process(*log.batches)
    outputs.add(shard.finish())
    found: dict[str, dict[str, Found]] = {level: {} for level in LEVELS}
    for finding in sorted(outputs.findings, key=lambda finding: finding.sequence):
        for level, action in LEVELS.items():
            if finding.action >= action:
                found[level].setdefault(finding.client, Found(finding.sequence, finding.evidence))
    return found


def flagged(log: Log, counts: Mapping[str, int | None]) -> dict[str, Found]:
    """From after how many queries of its own each client is flagged, if ever, to the positions in the log."""
    return {client: Found(int(log.places[client][count - 1]), "") for client, count in counts.items() if count is not None}
