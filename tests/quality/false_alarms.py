"""Count false alarms among many innocents: ``python -m tests.quality.false_alarms --out DIR``.

The scenario table plays some dozens of clients of a profile, which can show that one in twenty is met but not that fewer than
one in ten thousand is. Here known profiles play until that can be seen, before our detector only: of 38,412 clients none may
be stopped if the upper end of the interval is to stay below 1 in 10,000. Counts go to ``false-alarms.jsonl``, a profile a
line and the whole last, and the table to ``false-alarms.md``. What is finished is kept in the folder, a block of clients at a
time, so an interrupted run goes on where it was; a block is played again when the code of the detector has changed. The same
arguments give the same figures, however many processes work. Exit status 1 where a goal is passed or a block could not be
played.

**What is independent.** Every client has random numbers of its own, from a seed that no baseline was calibrated with, and
asks about pictures that neither taught nor calibrated the baseline it is judged by. But pictures are few: all clients of a
simulation on digits draw from some 360, so they differ by habit, order, noise and choice, not by what there is to see, and a
picture that looks constructed would be met by many of them. They are judged by one baseline as well, and if its thresholds
came out low that shows in all its clients. Against both, the blocks are dealt to several simulations, each with pools, model
and baseline of its own. Intervals take clients for independent and are therefore somewhat too narrow. The clients of a block
play at the same time, as a fleet of one device does, and the engine may compare them with each other.

A client asks 600 queries, one in six seconds on average: an hour's work. One who asks all day is a harder case; see the cells
called ``long`` in the scenario table.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline, load, save
from detector.errors import ConfigError, DetectorError
from detector.ingest.batch import Batch
from detector.redteam.sessions import innocent
from tests.quality import alarm_table
from tests.quality.fleet import fleet
from tests.quality.history import GAP_SECONDS, Past, past_fleets, playable
from tests.quality.matches import FULL
from tests.quality.observed import LEVELS, ours, settings_for
from tests.quality.quality import REAL_DATA, UNRELATED, errors
from tests.quality.simulation import Simulation, simulated
from tests.quality.workers import digest, each, keep, progress, state_folder
from tests.quality.worlds import VICTIMS

SHIPPED = (("digits", "mlp"), ("loans", "forest"))
BROUGHT = (("mnist", "mlp"), ("adult", "forest"))
SEEDS = (101, 102, 103, 104)  # seeds of pools, models and thereby baselines; the scenario table uses 1
CLIENT_SEED = 9001
BLOCK = 50  # clients that play at the same time
DEFAULT_SESSIONS = 40_000


@dataclass(frozen=True, slots=True)
class Block:
    """Clients of one profile who play at the same time, `first` being the number of the first of them."""

    data: str
    victim: str
    seed: int
    profile: str
    first: int
    sessions: int
    queries: int

    @property
    def name(self) -> str:
        """What it is called in the folder."""
        return f"{self.data}-{self.victim}-{self.seed}-{self.profile}-{self.first}-{self.sessions}x{self.queries}"


def blocks(sessions: int, queries: int, real: Path | None, mixed: Sequence[str] = ()) -> list[Block]:
    """Deal at least `sessions` clients to the known profiles, the same number to each, in blocks, to the simulations in turn.

    `mixed` are worlds (see `tests.quality.worlds`) that join the two data sets which ship, each behind its own wire. Raises
    what `simulated` does, and `ConfigError` for a name that is no world.
    """
    strange = [name for name in mixed if name not in VICTIMS]
    if strange:
        raise ConfigError(f"there is no world {strange[0]!r}; there are: {', '.join(VICTIMS)}")
    models = (*SHIPPED, *((name, VICTIMS[name]) for name in mixed), *(BROUGHT if real is not None else ()))
    profiles = [(data, victim, name) for data, victim in models for name in playable(simulated(data, victim, SEEDS[0], real))]
    each_one = -(-sessions // len(profiles))
    return [
        Block(data, victim, SEEDS[turn % len(SEEDS)], profile, first, min(BLOCK, each_one - first), queries)
        for turn, first in enumerate(range(0, each_one, BLOCK))
        for data, victim, profile in profiles
    ]


def measure(
    wanted: list[Block],
    out: Path,
    *,
    past: Past = FULL.past,
    real: Path | None = None,
    jobs: int = 1,
    told: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> list[dict[str, Any]]:
    """Play the blocks, or take them from `out`, and return their counts in the order of `wanted`.

    A block that fails comes back with its ``error``. `told` hears of the progress: what, done, of how many. Raises
    `OutputError` when the folder cannot be written.
    """
    state = state_folder(out, digest(past, UNRELATED - {"false_alarms"}))
    missing = [block for block in wanted if not (state / f"{block.name}.json").exists()]
    simulations = dict.fromkeys((block.data, block.victim, block.seed) for block in missing)
    lessons = [(*one, real, past, state) for one in simulations if not (_baseline(*one, state) / "done").exists()]
    played = [(block, real, state) for block in missing]
    for done, _ in enumerate(each(learn, lessons, jobs), 1):
        told("learning", done, len(lessons))
    for done, _ in enumerate(each(_play, played, jobs), 1):
        told("playing", done, len(played))
    return [json.loads((state / f"{block.name}.json").read_text(encoding="utf-8")) for block in wanted]


def learn(data: str, victim: str, seed: int, real: Path | None, past: Past, state: Path) -> None:
    """Fit our baseline on the benign past of a simulation and keep it in `state`."""
    served = simulated(data, victim, seed, real)
    logs = past_fleets(served, past)

    def read() -> Iterator[Batch]:
        for log in logs:
            yield from log.batches

    place = _baseline(data, victim, seed, state)
    save(fit_baseline(read, settings_for(served)), place)
    (place / "done").touch()


def _baseline(data: str, victim: str, seed: int, state: Path) -> Path:
    return state / f"baseline-{data}-{victim}-{seed}"


@lru_cache(maxsize=16)
def _known(place: Path) -> Baseline:
    return load(place)


def play(block: Block, served: Simulation, baseline: Baseline) -> dict[str, Any]:
    """Play a block: how many clients met each level, and by what evidence."""
    began = time.perf_counter()
    numbers = range(block.first, block.first + block.sessions)
    players = [innocent(block.profile, n, served.evaluation, block.queries, GAP_SECONDS, CLIENT_SEED) for n in numbers]
    log = fleet(players, served.evaluation, labels_only=served.labels_only)
    found = ours(log, settings_for(served), baseline.models)
    return {
        "world": f"{block.data}-{block.victim}",
        "profile": block.profile,
        "sessions": block.sessions,
        "queries": len(log),
        **{level: len(found[level]) for level in LEVELS},
        "evidence": {level: dict(Counter(one.evidence for one in found[level].values())) for level in LEVELS},
        "clients": {level: sorted(found[level]) for level in LEVELS},
        "seed": block.seed,
        "seconds": round(time.perf_counter() - began, 2),
    }


def _play(block: Block, real: Path | None, state: Path) -> None:
    try:
        served = simulated(block.data, block.victim, block.seed, real)
        found = play(block, served, _known(_baseline(block.data, block.victim, block.seed, state)))
    except (DetectorError, ValueError) as error:
        found = {"block": block.name, "error": str(error)}
    keep(found, state / f"{block.name}.json")


def conclude(found: Sequence[dict[str, Any]], out: Path) -> bool:
    """Write what was counted, say what went wrong, and return whether all blocks were played and no goal was passed.

    Raises `OutputError` when the folder cannot be written.
    """
    whole = [block for block in found if "error" not in block]
    said = [f"{block['block']}: {block['error']}" for block in found if "error" in block]
    if whole:
        said += alarm_table.publish(whole, out)
    for line in said:
        errors.print(line, soft_wrap=True, markup=False)
    if whole:
        errors.print(f"table: {out / 'false-alarms.md'}", soft_wrap=True, markup=False)
    return not said


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the counts go, and what is finished is kept")],
    sessions: Annotated[int, typer.Option("--sessions", min=1, help="clients in all")] = DEFAULT_SESSIONS,
    queries: Annotated[int, typer.Option("--queries", min=1, help="queries of each client")] = FULL.past.queries,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", envvar=REAL_DATA, help="folder with MNIST and Adult")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="processes")] = os.cpu_count() or 1,
    world: Annotated[
        list[str] | None, typer.Option("--world", metavar="NAME", help="mix in a world, on its wire; repeatable")
    ] = None,
) -> None:
    """Count false alarms and false stops among many clients of the known profiles."""
    try:
        with progress(errors, "learning") as told:
            found = measure(blocks(sessions, queries, data, world or ()), out, real=data, jobs=jobs, told=told)
        sound = conclude(found, out)
    except DetectorError as error:
        errors.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    if not sound:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(command)
