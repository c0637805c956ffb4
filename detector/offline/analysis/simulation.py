"""Simulation: logs with thieves in them, to try everything on before there are logs of one's own."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from detector.errors import OutputError
from detector.redteam import cast


@dataclass(frozen=True, slots=True)
class Simulation:
    """The files of a simulation: a fortnight of benign traffic, the log of the day after, and who was a thief in it."""

    history: Path
    log: Path
    labels: Path


def simulate(folder: str | Path) -> Simulation:
    """Play the demo's clients against its model (scikit-learn's digits), and write logs and labels into `folder`.

    The history holds 180 benign clients, the log 18 others and five thieves, one for each kind of attack. Time is simulated,
    so this takes some seconds, and every run writes the same logs.

    Raises `OutputError` when the folder cannot be written.
    """
    folder = Path(folder)
    made = Simulation(folder / "history.jsonl.gz", folder / "log.jsonl", folder / "labels.csv")
    try:
        with threadpool_limits(1):  # for such small matrices threads only wait for each other
            _play(made, folder)
    except OSError as error:
        raise OutputError(f"cannot write the simulation to {folder}: {error.strerror or error}") from error
    return made


def _play(made: Simulation, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    served = cast.victim()
    players = cast.live(served)
    with gzip.GzipFile(made.history, "wb", compresslevel=1, mtime=0) as history:
        history.writelines(line + b"\n" for line in cast.play(cast.history(served), served))
    with made.log.open("wb") as log:
        log.writelines(line + b"\n" for line in cast.play(players, served))
    with made.labels.open("w", encoding="utf-8", newline="") as labels:
        writer = csv.writer(labels)
        writer.writerow(["client", "hostile", "role"])
        writer.writerows([player.name, int(player.hostile), player.role] for player in players)
