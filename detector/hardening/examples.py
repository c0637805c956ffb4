"""Natural inputs for the bench: a pool of numbers, or a recorded log of benign traffic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from detector.config import Config
from detector.errors import ConfigError
from detector.ingest.source import Position
from detector.offline.replay import read_batches
from detector.redteam.conversation import Array, Labels
from detector.redteam.targets import examples

__all__ = ["Examples", "examples_of", "labels_of"]

POOLS: Final = (".npy", ".npz", ".csv")
MOST: Final = 5000  # examples of a log that are kept: a thief, the innocents and the test need no more


class Examples(NamedTuple):
    """Natural inputs X (n, dimension), where they are of a log its name and the model's id in it, and what to say of them."""

    X: Array
    log: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()


def examples_of(
    source: str, config: Config, model: str | None = None, progress: Callable[[Position], None] = lambda _: None
) -> Examples:
    """Read ``digits``, ``loans``, a .npy, .npz (array ``X``) or .csv file of numbers, or else a prediction log.

    Of a log at most `MOST` distinct inputs are kept, drawn at random; `model` says of which model, where it holds several.
    Raises `ConfigError` where too little can be read, and `SourceError` for a log that is not there.
    """
    if source in {"digits", "loans"} or Path(source).suffix in POOLS:
        return Examples(examples(source))
    rows: dict[str, list[Array]] = {}
    seen: dict[str, int] = {}
    passed = 0
    rng = np.random.default_rng(0)
    for batch in read_batches([source], config, progress=progress):
        usable = (batch.refused == 0) & np.isfinite(batch.vector).all(axis=1) if batch.vector.shape[1] else batch.refused < 0
        passed += int((~usable).sum())
        kept = rows.setdefault(batch.model, [])
        for vector in batch.vector[usable]:
            seen[batch.model] = seen.get(batch.model, 0) + 1
            if len(kept) < MOST:
                kept.append(vector)
            elif (at := int(rng.integers(seen[batch.model]))) < MOST:
                kept[at] = vector
    held = {name for name, vectors in rows.items() if vectors}
    if not held:
        raise ConfigError(f"{source}: holds no input that could be asked about")
    if model is None and len(held) > 1:
        raise ConfigError(f"{source}: holds several models, name one with --model-id: {', '.join(sorted(held))}")
    name = model or next(iter(held))
    if name not in held:
        raise ConfigError(f"{source}: holds no input of model {name!r}; there are: {', '.join(sorted(held))}")
    shapes = {vector.shape for vector in rows[name]}
    if len(shapes) > 1:
        raise ConfigError(f"{source}: inputs of model {name!r} have different lengths")
    # The shortest decimals that are the same float32: 0.1 is asked as 0.1.
    X = np.unique(np.stack(rows[name]).astype(str).astype(np.float64), axis=0)
    notes = (f"{passed:,} records of {source} were left out: refused, or with missing values",) if passed else ()
    return Examples(X[rng.permutation(len(X))], source, name, notes)


def labels_of(source: str, labels: str, count: int, names: tuple[str, ...]) -> Labels:
    """Read the true labels of the examples in `source`: the name of an array in its .npz, or a .npy, .csv or .txt file.

    They are class numbers from 0, or `names`. Raises `ConfigError` where there are not as many as examples.
    """
    path = Path(labels)
    try:
        read: Any
        if Path(source).suffix == ".npz" and not path.suffix:
            read = np.load(source, allow_pickle=False)[labels]
        elif path.suffix == ".npy":
            read = np.load(path, allow_pickle=False)
        else:
            read = np.array(path.read_text(encoding="utf-8").split())
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"cannot read labels {labels}: {error}") from error
    if read.shape != (count,):
        raise ConfigError(f"{labels}: labels of shape {read.shape} for {count} examples")
    order = {name: place for place, name in enumerate(names)}
    places = np.empty(count, dtype=np.int64)
    for number, entry in enumerate(read.tolist()):
        try:
            places[number] = order[str(entry)] if str(entry) in order else int(entry)
        except ValueError:
            raise ConfigError(
                f"{labels}: label {number} is {entry!r}: class numbers from 0, or names of --class-names"
            ) from None
    return places
