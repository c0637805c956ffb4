"""A guess at where the fields of records of unknown shape stand, from their names and values: a proposal for people to check.

Each field of an event takes the best field that is left, in a fixed order. What nobody took is an input where it
is a number or a short text.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from detector.offline.inspection.fields import NAMES, NEVER, client_names
from detector.offline.inspection.seen import FieldSeen, seen

__all__ = ["Guess", "guess"]

_LONG: Final = 64  # characters of a text that is no category

_FLAGS: Final = re.IGNORECASE
_ID: Final = re.compile(
    r"(^|[_.\-\s])(id|uuid|guid|key)$|(request|prediction|event|trace|query|record|row|call).?(id|no|nr)$|^id([_.\-\s]|$)",
    _FLAGS,
)
_TIME: Final = re.compile(r"time|(^|[_.])(ts|date|at|when|day)$|^(ts|date|when|created|logged)|_at$", _FLAGS)
_CLIENT: Final = client_names(r"customer|team|who|org|partner|sender")
_MODEL: Final = re.compile(r"^(ml.?)?(model|endpoint|deployment)(.?(id|name))?$", _FLAGS)
_VERSION: Final = re.compile(r"^(model.?)?version$", _FLAGS)
_STATUS: Final = re.compile(r"^(http.?)?(status|code)$|(http|response|status).?(status|code)$", _FLAGS)
_LATENCY: Final = re.compile(r"(latency|duration|elapsed|took|execution).*(ms|millis)|(^|[_.])latency$", _FLAGS)
_IP: Final = re.compile(r"(^|[_.])(client.?|remote.?|source.?)?ip(.?addr(ess)?)?$|remote.?addr(ess)?$", _FLAGS)
_AGENT: Final = re.compile(r"user.?agent", _FLAGS)
_CHANCES: Final = re.compile(r"prob|scores|confidences|distribution|softmax", _FLAGS)
_SCORE: Final = re.compile(r"score|prob|confidence|risk|likelihood", _FLAGS)
_LABEL: Final = re.compile(r"pred|label|class|decision|verdict|outcome|answer|output|result|response|y_?hat|completion", _FLAGS)
_PREDICTED: Final = re.compile(r"pred|y_?hat", _FLAGS)
_TRUTH: Final = re.compile(r"truth|actual|target|y_?true|ground|feedback", _FLAGS)
_INPUT: Final = re.compile(
    r"input|feature|instance|vector|embedding|request|payload|body|data|prompt|question|query|text|message|^x$", _FLAGS
)
_NO_INPUT: Final = re.compile(
    r"(^|[_.])(id|uuid|guid|index|level_0|unnamed.*)$|_id$|^$|partition|offset|hostname|pod|namespace|region", _FLAGS
)


@dataclass(frozen=True, slots=True)
class Guess:
    """Entries of ``[ingest.mapping]``, why each was taken, and what was not found."""

    mapping: dict[str, Any]
    why: dict[str, str]
    lacking: tuple[str, ...]


def guess(documents: Iterable[Any]) -> Guess | None:
    """Return where the fields of objects may stand, None where there are no objects with an input and an answer."""
    found, count = seen(documents)
    if not count:
        return None
    left = [entry for entry in found.values() if entry.values]
    mapping: dict[str, Any] = {}
    why: dict[str, str] = {}

    def take(key: str, fits: Callable[[FieldSeen], bool], best: Callable[[FieldSeen], Any], reason: str) -> FieldSeen | None:
        fitting = [entry for entry in left if fits(entry)]
        if not fitting:
            return None
        chosen = max(fitting, key=lambda entry: (best(entry), entry.values, -entry.depth))
        left.remove(chosen)
        mapping[key], why[key] = chosen.path, f"{reason}: {chosen.values} of {count} records have it"
        return chosen

    _take_about(take)
    _take_answer(take)
    _take_input(take, left, mapping, why)
    lacking = tuple(
        name
        for name, keys in (
            ("time", ("time",)),
            ("client", ("client",)),
            ("input", ("input", "columns")),
            ("answer", ("label", "probabilities", "score")),
        )
        if not any(key in mapping for key in keys)
    )
    return Guess(mapping, why, lacking)


_Take = Callable[[str, Callable[[FieldSeen], bool], Callable[[FieldSeen], Any], str], "FieldSeen | None"]


def _take_about(take: _Take) -> None:
    """Take what is around a query: when, who, which model."""
    take(
        "time",
        lambda one: one.mostly(one.times) and bool(_TIME.search(one.name)),
        lambda one: one.numbers == 0,
        "name and values",
    )
    take(
        "id",
        lambda one: one.scalar and one.unique and bool(_ID.search(one.name)),
        lambda one: -one.depth,
        "name, and no value twice",
    )
    take("ip", lambda one: one.scalar and bool(_IP.search(one.name)), _as_good, "name")
    take("user_agent", lambda one: one.scalar and bool(_AGENT.search(one.name)), _as_good, "name")
    take("client", _is_client, _as_client, "name, and values that come again")
    take("model", lambda one: one.scalar and not one.numbers and bool(_MODEL.search(one.name)), _as_good, "name")
    take("version", lambda one: one.scalar and bool(_VERSION.search(one.name)), _as_good, "name")
    take("status", lambda one: one.mostly(one.statuses) and bool(_STATUS.search(one.name)), _as_good, "name and values")
    take("latency_ms", lambda one: one.mostly(one.numbers) and bool(_LATENCY.search(one.name)), _as_good, "name")


def _as_good(one: FieldSeen) -> int:
    del one
    return 0


def _is_client(one: FieldSeen) -> bool:
    """Tell whether a field may name a client; a number only where its name says nothing else."""
    if not one.scalar or one.fractions or NEVER.search(one.path):
        return False
    return bool(_CLIENT.search(one.path)) or (not one.numbers and bool(NAMES.search(one.name)))


def _as_client(one: FieldSeen) -> tuple[bool, bool]:
    return 1 < len(one.distinct) < max(2, one.values), bool(_CLIENT.search(one.path))


def _as_label(one: FieldSeen) -> tuple[bool, bool, bool]:
    again = len(one.distinct) < max(2, one.values)
    return bool(_PREDICTED.search(one.name)), again, bool(re.search("label|class", one.name, _FLAGS))


def _take_answer(take: _Take) -> None:
    """Take what the model answered; a column of the truth is none."""

    def answer(one: FieldSeen, pattern: re.Pattern[str]) -> bool:
        return bool(pattern.search(one.name)) and not _TRUTH.search(one.name)

    take(
        "probabilities",
        lambda one: one.mostly(one.lists + one.objects) and answer(one, _CHANCES),
        lambda one: one.lists,
        "name, and lists",
    )
    label = take(
        "label",
        lambda one: one.scalar and not one.fractions and answer(one, _LABEL) and not _SCORE.search(one.name),
        _as_label,
        "name",
    )
    score = take(
        "score",
        lambda one: one.mostly(one.numbers if label is None else one.chances) and answer(one, _SCORE),
        lambda one: (one.mostly(one.chances), bool(_PREDICTED.search(one.name))),
        "name, and numbers",
    )
    if label is None and score is None:
        take("score", lambda one: one.mostly(one.numbers) and answer(one, _LABEL), _as_good, "name, and numbers")


def _take_input(take: _Take, left: list[FieldSeen], mapping: dict[str, Any], why: dict[str, str]) -> None:
    """Take one field that holds the input, or else the fields of the record that are left."""
    whole = take(
        "input",
        lambda one: one.mostly(one.lists + one.objects) and bool(_INPUT.search(one.name)),
        lambda one: (bool(re.search("input|feature|instance|vector", one.name, _FLAGS)), -one.depth),
        "name, and lists or objects",
    )
    if whole is not None:
        return
    columns = [one.name for one in left if one.depth == 0 and one.scalar and _is_input(one)]
    if columns:
        mapping["columns"], why["columns"] = columns, f"what is left: {len(columns)} fields with numbers or short texts"
        return
    take(
        "input",
        lambda one: one.scalar and not one.numbers and bool(_INPUT.search(one.name)),
        lambda one: (one.longest, -one.depth),
        "name, and texts",
    )


def _is_input(one: FieldSeen) -> bool:
    if _NO_INPUT.search(one.name) or _TRUTH.search(one.name) or (one.mostly(one.times) and not one.numbers):
        return False
    if one.mostly(one.numbers):
        return True
    return one.longest <= _LONG and not (one.unique and one.values > 2)  # of two texts both may differ
