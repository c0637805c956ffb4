"""Where the detector stops a thief: his log goes through the engine, query by query, until it decides.

The baseline is the operator's, or fitted here: on the log that the examples come from, or on simulated innocents, who ask about
the benign examples. A throttle slows a thief down and stops nobody; it is told apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from detector.baseline.store import Baseline
from detector.config import Config
from detector.errors import BaselineError, ConfigError
from detector.hardening.subject import Subject
from detector.hardening.theft import Loot
from detector.offline.replay import fit
from detector.offline.stream import Detector
from detector.redteam.play import event_line, turns
from detector.redteam.registry import profiles_of
from detector.redteam.sessions import innocent

__all__ = ["Judge", "Stop", "given_judge", "learned_judge"]

CLIENTS: Final = 8  # simulated innocents of each profile
QUERIES: Final = 80  # of each of them
STOPS: Final = ("perturb", "block")
FORTNIGHT_MS: Final = 14 * 86_400_000


@dataclass(frozen=True, slots=True)
class Stop:
    """When the detector acted on a thief: after how many queries it throttled him and stopped him, None for never.

    `action` and `reason` are those of the stop, `ignored` is how many of his queries the engine could not use.
    """

    throttled: int | None
    stopped: int | None
    action: str | None
    reason: str | None
    ignored: int


@dataclass(frozen=True, slots=True)
class Judge:
    """The engine with a baseline; `origin` says in words where that is from, `model` is the model's id in it."""

    config: Config
    baseline: Baseline
    origin: str
    model: str

    def stop(self, loot: Loot) -> Stop:
        """Let the engine see the thief's queries one by one; takes about a millisecond for each."""
        watching = Detector(self.baseline, self.config)
        throttled: int | None = None
        ignored = 0
        for asked, line in enumerate(loot.log, 1):
            _, decisions = watching.observe(line)
            ignored += len(watching.refused)
            for decision in decisions:
                if decision.action == "throttle" and throttled is None:
                    throttled = asked
                if decision.action in STOPS:
                    return Stop(throttled, asked, decision.action, decision.reason.code, ignored)
        return Stop(throttled, None, None, None, ignored)


def given_judge(config: Config, baseline: Baseline, subject: Subject, folder: Path) -> Judge:
    """Return the engine with the operator's baseline; raises `BaselineError` where it does not know such a model."""
    name = subject.model_id or (next(iter(baseline.models)) if len(baseline.models) == 1 else subject.target.id)
    known = baseline.models.get(name)
    if known is None:
        raise BaselineError(
            f"{folder}: knows no model {name!r}; name one with --model-id: {', '.join(sorted(baseline.models))}"
        )
    if known.reference.dimension != subject.target.test.shape[1]:
        dimensions = known.reference.dimension, subject.target.test.shape[1]
        raise BaselineError(f"{folder}: model {name!r} takes {dimensions[0]} values there, and {dimensions[1]} here")
    return Judge(config, baseline, f"baseline {folder}", name)


def learned_judge(config: Config, subject: Subject, seed: int, told: Callable[[], None] = lambda: None) -> Judge:
    """Fit a baseline on the log of the examples, or on simulated innocents where there is none.

    Raises `BaselineError` where there is too little to learn from, and `ConfigError` where innocents cannot be simulated.
    """
    name = subject.model_id or subject.target.id
    if subject.log is not None:
        return Judge(config, fit([subject.log], config), f"baseline fitted on {subject.log}", name)
    target = subject.target
    roles = list(profiles_of(target.data, "known"))
    players = []
    for role in roles:
        for number in range(CLIENTS):
            try:
                player = innocent(role, number, target, QUERIES, 12.0, seed)
            except ConfigError:  # a profile that does not go with such inputs
                continue
            player.next_ms += number * FORTNIGHT_MS / CLIENTS - FORTNIGHT_MS
            players.append(player)
    with TemporaryDirectory(prefix="detector-") as folder:
        log = Path(folder, "benign.jsonl")
        with log.open("wb") as file:
            for turn in turns(players, target.predict, target.wire):
                file.write(event_line(turn, turn.player.name, name, digits=6) + b"\n")
                told()
        baseline = fit([str(log)], config)
    clients = f"{len(players)} simulated innocents of {len({player.role for player in players})} profiles"
    return Judge(config, baseline, f"baseline fitted on {clients}", name)
