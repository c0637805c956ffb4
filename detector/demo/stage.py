"""The stage: history, baseline, and the live log through the pipeline while it grows."""

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector import private
from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline, save
from detector.clock import SystemClock
from detector.config import Config, load
from detector.contracts import Decision
from detector.errors import OutputError
from detector.ingest.lines import LineCutter
from detector.offline import replay
from detector.offline.pipeline import Pipeline
from detector.offline.trace import Tracer
from detector.redteam import cast
from detector.redteam.play import Player
from detector.redteam.victim import Victim
from detector.sinks.folder import FolderSink

CONFIG = """\
# The demo's configuration; paths are relative to this file.

[baseline]
path = "baseline"

[policy]
shadow = false                # decisions are meant
trust_clients = true          # the demo's log names clients as they are
false_alerts_per_1000 = 1.0   # client-days
false_blocks_per_10000 = 1.0

[engine]
seed = 7                      # keep yours secret: it decides which input columns are remembered
"""
BROKEN_LINES = (b'{"event_id":"cut-off","time":"2024-05-04T10:0', b'{"event_id":"nan","input":{"vector":[NaN]}}')
TICK = 64  # lines the server writes before the detector reads them


@dataclass(frozen=True, slots=True)
class Staged:
    """Everything a run left behind: who played, what was decided, and traces of the evidence."""

    served: Victim
    players: list[Player]
    decisions: list[Decision]
    baseline: Baseline
    config: Config
    tracer: Tracer

    def groups(self) -> dict[str, str]:
        """Return each client's group for the picture: its attack, or benign."""
        return {player.name: player.role.replace("_", " ") if player.hostile else "benign" for player in self.players}


class _Watching(FolderSink):
    """Writes files and remembers decisions, so that they can be printed as they come."""

    def __init__(self, folder: Path, tell: Callable[[Decision], None]) -> None:
        super().__init__(folder)
        self.seen: list[Decision] = []
        self._tell = tell

    def decisions(self, decisions: Any) -> None:
        """Append decisions and tell them."""
        listed = list(decisions)
        super().decisions(listed)
        for decision in listed:
            self.seen.append(decision)
            self._tell(decision)


def stage(
    folder: Path, say: Callable[[str], None], tell: Callable[[Decision], None], step: Callable[[str, int, int], None]
) -> Staged:
    """Play the whole demo into `folder`.

    `say` gets what happens next, `tell` each decision as it is made, `step` the progress: what, done, of how many.
    Raises `OutputError` when the folder cannot be written.
    """
    served, config, baseline = learn(folder, say, step)
    say("the day itself: the server writes its log, the detector reads it as it grows")
    return _live(folder, served, config, baseline, tell, step)


def learn(folder: Path, say: Callable[[str], None], step: Callable[[str, int, int], None]) -> tuple[Victim, Config, Baseline]:
    """Train the model that is served, and learn from its benign traffic: the first part of `stage`.

    `folder` then holds the configuration, the history and the baseline. Raises `OutputError` when it cannot be written.
    """
    try:
        private.make_folder(folder)
        private.write(folder / "detector.toml", CONFIG.encode())
        say("training the model that is served: a perceptron on scikit-learn's digits")
        served = cast.victim()
        say("a fortnight of benign traffic")
        _write_history(folder / "history.jsonl.gz", served, step)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    config = load(folder / "detector.toml")
    say("fitting the baseline on it, as `detector baseline fit` does")
    baseline = replay.fit([str(folder / "history.jsonl.gz")], config)
    save(baseline, folder / "baseline")
    return served, config, baseline


def _write_history(path: Path, served: Victim, step: Callable[[str, int, int], None]) -> None:
    players = cast.history(served)
    total = sum(player.budget for player in players)
    with private.create(path) as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
        for done, line in enumerate(cast.play(players, served), 1):
            file.write(line + b"\n")
            if done % 500 == 0 or done == total:
                step("history", done, total)


def _live(
    folder: Path,
    served: Victim,
    config: Config,
    baseline: Baseline,
    tell: Callable[[Decision], None],
    step: Callable[[str, int, int], None],
) -> Staged:
    started = time.perf_counter()
    players = cast.live(served)
    total = sum(player.budget for player in players)
    path = folder / "log.jsonl"
    sink = _Watching(folder, tell)
    tracer = Tracer({cast.MODEL: baseline.models[cast.MODEL]}, engine_settings(config).policy)
    pipeline = Pipeline(config, baseline, sink, SystemClock(), observer=tracer)
    cutter = LineCutter(str(path), config.engine.max_record_bytes)
    broken = list(BROKEN_LINES)
    try:
        with private.create(path) as server, path.open("rb") as reader:
            for done, line in enumerate(cast.play(players, served), 1):
                server.write(line + b"\n")
                if done % 1000 == 0 and broken:
                    server.write(broken.pop() + b"\n")
                if done % TICK == 0 or done == total:
                    server.flush()
                    for chunk in cutter.cut(reader.read()):
                        pipeline.feed(chunk)
                    step("live", done, total)
            server.flush()
            for chunk in cutter.cut(reader.read()):
                pipeline.feed(chunk)
        pipeline.finish()
        sink.summary(replay.summarise(pipeline.counts, time.perf_counter() - started, [str(path)], 1, config, baseline))
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        sink.close()
    return Staged(served, players, sink.seen, baseline, config, tracer)
