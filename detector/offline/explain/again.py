"""Once more: the logs that results name run through the engine again, watched by whoever explains."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detector.baseline.store import Baseline
from detector.config import Config
from detector.engine.links.linker import Witness
from detector.engine.observer import Observer
from detector.offline.explain.results import logs_of
from detector.offline.replay import Progress, Replayed, replay


@contextmanager
def replayed(
    summary: Mapping[str, Any],
    folder: Path,
    config: Config,
    baseline: Baseline | None,
    *,
    progress: Progress | None = None,
    observer: Observer | None = None,
    witness: Witness | None = None,
) -> Iterator[tuple[Replayed, Path]]:
    """Replay the logs of the results in `folder`, whose `summary` is at hand.

    What the replay wrote lies in the folder that is returned with how it ended, as long as the context lasts. Raises
    `SourceError` when a log is gone.
    """
    logs, partitions = logs_of(summary, folder), int(summary.get("partitions", 1))
    with TemporaryDirectory(prefix="detector-") as scratch:
        again = Path(scratch)
        done = replay(
            logs, again, config, baseline, partitions=partitions, progress=progress, observer=observer, witness=witness
        )
        if done.summary["interrupted"]:
            raise KeyboardInterrupt
        yield done, again
