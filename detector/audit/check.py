"""What a check is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from detector.audit.known import Known
from detector.audit.result import Result
from detector.audit.seen import Asked, Seen

__all__ = ["Check"]


class Check(ABC):
    """Looks at every query of a log in turn, and says in the end what it found.

    One is made for each audit. What it remembers of clients must be bounded (`table`), and its results must follow from the
    records alone: no clock, no chance.
    """

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        self.known = known

    def take(self, seen: Seen) -> None:  # noqa: B027  # some look at the decisions alone
        """Look at a query."""

    def refuse(self, asked: Asked) -> None:  # noqa: B027  # most look at usable records only
        """Look at a record that could not be used."""

    @abstractmethod
    def results(self) -> Iterable[Result]:
        """Say what was found. It is asked once, after the last record."""
