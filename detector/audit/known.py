"""What an audit knows besides the log. Whatever was not named is None, and what needs it is not judged."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

import msgspec

from detector.audit.trail import Trail
from detector.config import Config
from detector.contracts.moment import parse_rfc3339
from detector.errors import SourceError

__all__ = [
    "BaselineFacts",
    "Bench",
    "Commitment",
    "Known",
    "read_bench",
    "read_commitment",
    "read_truth",
]

_MOST_BYTES: Final = 64 << 20
_PLAIN: Final = (None, "", "none")
FIDELITY: Final = 0.9
"""Share of fresh inputs on which a copy agrees from which on a model counts as copied."""

MOST_TRUE: Final = 1_000_000
"""True labels that are held in memory, about 200 bytes each."""


@dataclass(frozen=True, slots=True)
class BaselineFacts:
    """A baseline's folder: its version, the models that it knows, and when it was written last."""

    path: Path
    version: str
    models: frozenset[str]
    written_ms: int


@dataclass(frozen=True, slots=True)
class Bench:
    """How many queries the cheapest attack that a bench tried needs for a copy that agrees on 90%: for each model, or for all.

    None for a model where no attack came so far within its budget.
    """

    queries: dict[str | None, int]

    def of(self, model: str) -> int | None:
        """Return the queries for a model."""
        return self.queries.get(model, self.queries.get(None))


@dataclass(frozen=True, slots=True)
class Commitment:
    """The file that commits to the key of the marks, when it says it was made, and for which epoch; None where it does not."""

    path: Path
    made_ms: int | None
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The settings, whether a file of them was named (`configured`), and what else was given; `now_ms` is when."""

    config: Config
    configured: bool = False
    trail: Trail | None = None
    baseline: BaselineFacts | None = None
    bench: Bench | None = None
    commitment: Commitment | None = None
    truth: dict[str, str] | None = None
    now_ms: int = 0

    @property
    def latest_ms(self) -> int | None:
        """The latest time that is believed, as detection does; None where the time of the audit is not known."""
        return self.now_ms + int(self.config.engine.max_skew_minutes * 60_000) if self.now_ms else None


def _read_json(path: Path, what: str) -> Any:
    """Read a JSON file. Raises `SourceError`, which names `what` it should be."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"{path}: has more than {_MOST_BYTES >> 20} MB: this is no {what}")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is no JSON, so no {what}: {error}") from error


def read_bench(path: Path) -> Bench:
    """Read how many queries a copy takes.

    The file is the bench.json of a bench: a JSON object with `thefts`, each of which has `model`, `defence` and `reached`, a
    list of `fidelity` and `queries` (null where it was not reached). Thefts from a model without a defence count, and of
    several attacks the cheapest. Where one model was robbed the count is for every model of a log, whatever its name. An
    object with `queries_to_90`, a whole number, says the count itself.

    Raises `SourceError` where it holds neither.
    """
    found = _read_json(path, "result of a bench")
    alone = found.get("queries_to_90") if isinstance(found, dict) else None
    if _is_count(alone):
        return Bench({None: alone})
    thefts = found.get("thefts") if isinstance(found, dict) else None
    if not isinstance(thefts, list) or not all(isinstance(theft, dict) for theft in thefts):
        raise SourceError(f"{path}: has neither thefts nor queries_to_90: this is no result of a bench")
    plain = [theft for theft in thefts if theft.get("defence") in _PLAIN]
    models = {str(theft.get("model")) for theft in plain}
    queries: dict[str | None, int] = {}
    for theft in plain:
        model = str(theft.get("model")) if len(models) > 1 else None
        for count in _counts(theft.get("reached")):
            queries[model] = min(count, queries.get(model, count))
    return Bench(queries)


def _counts(reached: Any) -> list[int]:
    """Return the numbers of queries that reached the fidelity; none where it was not reached."""
    levels = [level for level in reached if isinstance(level, dict)] if isinstance(reached, list) else []
    return [level["queries"] for level in levels if level.get("fidelity") == FIDELITY and _is_count(level.get("queries"))]


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_commitment(path: Path) -> Commitment:
    """Read when a commitment says it was made: a JSON object with `created`.

    Raises `SourceError` where it is no JSON object.
    """
    found = _read_json(path, "commitment")
    if not isinstance(found, dict):
        raise SourceError(f"{path}: is no JSON object, so no commitment")
    said, epoch = found.get("created"), found.get("epoch")
    epoch = epoch if isinstance(epoch, str) else None
    if said is None:
        return Commitment(path, None, epoch)
    try:
        return Commitment(path, parse_rfc3339(said), epoch)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise SourceError(f"{path}: created is no time: {error}") from error


def read_truth(path: Path) -> dict[str, str]:
    """Read true labels: JSON Lines of `event_id` and `label`, at most `MOST_TRUE` of them.

    Raises `SourceError`, which names the line, where one holds neither.
    """
    found: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = _decode_truth(line)
                except (msgspec.MsgspecError, RecursionError) as error:
                    raise SourceError(f"{path}:{number}: wants event_id and label: {error}") from error
                if len(found) >= MOST_TRUE:
                    raise SourceError(f"{path}: has more than {MOST_TRUE:,} labels; give a part of them")
                found[row.event_id] = str(row.label)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise SourceError(f"{path}: holds no true label")
    return found


class _True(msgspec.Struct):
    event_id: str
    label: str | int


_decode_truth = msgspec.json.Decoder(_True).decode
