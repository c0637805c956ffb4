"""Measure what a test of ownership finds: ``python -m tests.quality.ownership --out DIR``.

Writes ``ownership.json`` and ``ownership.md`` with five tables: what marks cost the honest, independent models, copies of every
kind, thieves who choose or average, and detection beside marks. With ``--quick`` all of it is small.
``--only`` names tables, ``--world`` worlds. ``--keys`` and ``--first-key`` choose other keys for copies and attacks.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from detector.console import Console
from detector.errors import ConfigError
from tests.quality.ownership_copies import (
    attacked,
    averaged,
    beside_detection,
    changed_for,
    cost_of,
    found_among_copies,
    innocent_ps,
)
from tests.quality.ownership_worlds import COPIES, World, changing, worlds

Rows = list[list[Any]]
FRESH = 210  # the first key of the tables: marks and statistic were chosen on others
BARS = (0.05, 0.01, 0.005, 0.0001)
BARS_TOLD = tuple(f"p <= {bar:g}" for bar in BARS)
errors = Console(stderr=True)


def costs(made: dict[str, World], size: dict[str, int]) -> Rows:
    """What a mark costs the honest."""
    del size
    rows: Rows = [["world", "mean strength", "labels changed", "accuracy", "with marks"]]
    for name, world in made.items():
        cost = cost_of(world)
        rows.append([name, f"{cost.strength:.2f}", f"{cost.flips:.1%}", f"{cost.plain:.1%}", f"{cost.marked:.1%}"])
    return rows


def independents(made: dict[str, World], size: dict[str, int]) -> Rows:
    """How often an independent model gets a small p-value: over models and keys, with a key for each model, and by key."""
    rows: Rows = [["world", "models x keys", "of", *BARS_TOLD]]
    for name in size_worlds(made):
        ps = innocent_ps(made[name], size["innocents"], size["keys"], size["counterfeits"] * 10, 1)
        shares = np.array([ps <= bar for bar in BARS])
        by_key = shares.mean(axis=2)
        keys, models = ps.shape
        at = np.arange(models)
        each = np.array([shares[:, (at + first) % keys, at].mean(axis=1) for first in range(keys)]).T
        rows.append([name, f"{models:,} x {keys:,}", "all", *(f"{one:.2%}" for one in by_key.mean(axis=1))])
        error = by_key.std(axis=1) / np.sqrt(keys)
        rows.append([name, "", "standard error, of so many keys", *(f"{one:.2%}" for one in error)])
        for share in (0.05, 0.5, 0.95):
            told = [f"{one:.1%}" for one in np.quantile(each, share, axis=1)]
            rows.append([name, "", f"models with a key each, run at {share:.0%} of {keys:,}", *told])
        for share in (0.5, 0.8, 0.95, 1.0):
            told = [f"{one:.1%}" for one in np.quantile(by_key, share, axis=1)]
            rows.append([name, "", f"all models under one key, key at {share:.0%} of {keys:,}", *told])
    return rows


def size_worlds(made: dict[str, World]) -> list[str]:
    """Worlds at the share that a commitment chooses."""
    return [name for name in made if "at" not in name]


def of_copies(made: dict[str, World], size: dict[str, int]) -> Rows:
    """P-values of copies of every kind; the mean is geometric."""
    rows: Rows = [["copy", *(f"{name}: p (p <= .01), fidelity" for name in made)]]
    found = {
        name: [found_among_copies(world, size["queries"], size["many"], size["first"] + seed) for seed in range(size["seeds"])]
        for name, world in made.items()
    }
    for kind in COPIES:
        cells = []
        for each in found.values():
            ps, fidelity = [one[kind].p for one in each], np.mean([one[kind].fidelity for one in each])
            cells.append(f"{np.exp(np.mean(np.log(ps))):.4f} ({sum(p <= 0.01 for p in ps)} of {len(ps)}), {fidelity:.1%}")
        rows.append([kind, *cells])
    keys = range(size["first"], size["first"] + size["seeds"])
    changed = [[changed_for(world, size["queries"], key) for key in keys] for world in made.values()]
    rows.append([f"labels changed, of {size['queries']}, by key", *(", ".join(map(str, one)) for one in changed)])
    totals = [[sum(one[kind].p <= 0.01 for kind in COPIES) for one in each] for each in found.values()]
    rows.append(["kinds with p <= .01, of 13, by key", *(", ".join(map(str, one)) for one in totals)])
    totals = [[sum(one[kind].p <= 1e-4 for kind in COPIES) for one in each] for each in found.values()]
    rows.append(["kinds with p <= .0001", *(", ".join(map(str, one)) for one in totals)])
    return rows


def of_attacks(made: dict[str, World], size: dict[str, int]) -> Rows:
    """P-values of label copies by attacks, tested with the client's own inputs and without, and of averaging."""
    seeds = range(size["first"], size["first"] + size["seeds"])
    rows: Rows = [["thief", "p with the client's own inputs", "p without", "fidelity"]]
    for name in ("digits", "digits at 3%"):
        if name not in made:
            continue
        rows += _attacked(name, made[name], size, seeds)
    return rows


def _attacked(where: str, world: World, size: dict[str, int], seeds: range) -> Rows:
    rows: Rows = []
    runs = [attacked(world, size["queries"], size["counterfeits"], seed) for seed in seeds]
    for name in runs[0]:
        own = ", ".join(f"{one[name][0].p:.4f}" for one in runs)
        others = ", ".join(f"{one[name][1].p:.4f}" for one in runs)
        rows.append([f"{name}, {where}", own, others, f"{np.mean([one[name][0].fidelity for one in runs]):.1%}"])
    for accounts in (3, 10):
        both = [averaged(world, size["queries"], accounts, size["counterfeits"], seed) for seed in seeds]
        for at, how in enumerate(("dealt", "averaged")):
            rows.append([f"{accounts} accounts, {how}, {where}", ", ".join(f"{one[at]:.4f}" for one in both), "-", "-"])
    return rows


def detection(made: dict[str, World], size: dict[str, int]) -> Rows:
    """Queries until thieves are stopped, with marks and without."""
    rows: Rows = [["client", "no marks", "marks, log of what was told", "marks, the model server's own log"]]
    if "digits" not in made:
        return rows
    found = beside_detection(made["digits"], size["budget"], size["each"], 0)
    for role, means in found.items():
        rows.append([role, *(f"{mean:.0%}" if role == "innocents" else f"{mean:.0f}" for mean in means)])
    return rows


TABLES: dict[str, Callable[[dict[str, World], dict[str, int]], Rows]] = {
    "costs": costs,
    "innocents": independents,
    "copies": of_copies,
    "attacks": of_attacks,
    "detection": detection,
}
FULL = {"innocents": 1000, "keys": 4000, "counterfeits": 1999, "many": 9999, "queries": 400, "seeds": 3}
FULL |= {"budget": 250, "each": 3}  # of the detection
QUICK = {"innocents": 60, "keys": 60, "counterfeits": 199, "many": 199, "queries": 200, "seeds": 1, "budget": 60, "each": 1}


def measured(only: list[str], size: dict[str, int], made: dict[str, World]) -> dict[str, Rows]:
    """Measure the tables that are asked for, all by default."""
    strange = [name for name in only if name not in TABLES]
    if strange:
        raise ConfigError(f"there is no table {strange[0]!r}; there are: {', '.join(TABLES)}")
    found = {}
    for name in only or TABLES:
        with errors.status(name):
            found[name] = TABLES[name](made, size)
    return found


def markdown(found: dict[str, Rows]) -> str:
    """The tables for a document."""
    parts = []
    for name, rows in found.items():
        head, *body = [[str(cell) for cell in row] for row in rows]
        lines = [head, ["---"] * len(head), *body]
        parts.append(f"## {name}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in lines))
    return "\n".join(parts)


def main(
    out: Annotated[Path, typer.Option("--out", metavar="DIR")],
    only: Annotated[list[str] | None, typer.Option("--only", metavar="TABLE")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick")] = False,
    world: Annotated[list[str] | None, typer.Option("--world", metavar="WORLD")] = None,
    keys: Annotated[int | None, typer.Option("--keys", min=1)] = None,
    first: Annotated[int, typer.Option("--first-key", min=0)] = FRESH,
) -> None:
    """Measure, and write the tables."""
    warnings.simplefilter("ignore")  # of models that could be trained a little further
    made = {name: make() for name, make in worlds().items()}
    for name, share in (("digits", 0.03), ("loans", 0.1)):
        made[f"{name} at {share:.0%}"] = changing(made[name], share)
    strange = [name for name in world or () if name not in made]
    if strange:
        raise ConfigError(f"there is no world {strange[0]!r}; there are: {', '.join(made)}")
    made = {name: one for name, one in made.items() if name in (world or made)}
    size = {**(QUICK if quick else FULL), "first": first}
    size |= {} if keys is None else {"seeds": keys}
    if first + size["seeds"] > 256:
        raise ConfigError("there are 256 keys: take fewer of them, or a lower first one")
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "ownership.json"
    before = json.loads(kept.read_text()) if kept.exists() else {}
    found = {**before, **measured(only or [], size, made)}
    kept.write_text(json.dumps(found, indent=1) + "\n")
    (out / "ownership.md").write_text(markdown(found))
    Console().print(markdown(found), markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
