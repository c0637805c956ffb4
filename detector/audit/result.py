"""What a check comes to: a finding, nothing found, or that it cannot be judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

__all__ = ["EXAMPLES", "SEVERITIES", "Clear", "Finding", "Result", "Severity", "Unjudged", "at_least"]

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)

EXAMPLES: Final = 5
"""Most event ids that a finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the records prove.

    `reason` says why it is as severe as it is, `seen` what was seen, with figures (`figures` has them for programs), `examples`
    are ids of events or decisions, and `advice` is what to do.
    """

    id: str
    title: str
    controls: tuple[str, ...]
    severity: Severity
    reason: str
    seen: str
    advice: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clear:
    """Nothing was found; `seen` says in what. It proves no more than that."""

    id: str
    title: str
    controls: tuple[str, ...]
    seen: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """The records cannot tell; `why` says what they would need."""

    id: str
    title: str
    controls: tuple[str, ...]
    why: str


Result: TypeAlias = Finding | Clear | Unjudged


def at_least(severity: Severity, bar: Severity) -> bool:
    """Tell whether a severity reaches a bar.

    >>> at_least("high", "medium"), at_least("low", "medium")
    (True, False)
    """
    return SEVERITIES.index(severity) >= SEVERITIES.index(bar)
