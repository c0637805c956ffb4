"""What a drill is to do: who asks, at which pace, and what has to arrive."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = ["STEPS", "Login", "Pace", "Part", "Step"]

Step = Literal["alert", "indexed", "decision", "enforced"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)
"""An alert about the thief; the same in Elasticsearch; a decision about him; and that the gateway carries it out: a refusal, or
answers that tell less."""


@dataclass(frozen=True, slots=True)
class Login:
    """A client as alerts and decisions name it, and the headers that make the gateway take a request for its."""

    client: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One who asks: `role` is the id of an attack or of a benign profile."""

    role: str
    login: Login


@dataclass(frozen=True, slots=True)
class Pace:
    """How clients ask: so many queries a second, and a `budget` of them in all, for innocents another one.

    A thief who has asked them all waits `patience_s` for what is still to come.
    """

    per_second: float
    budget: int
    innocent_budget: int
    patience_s: float
