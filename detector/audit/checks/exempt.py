"""How much of the traffic is of clients that are never blocked."""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen

__all__ = ["Exempt"]

_CONTROLS: Final = ("AISVS v1.0-C11.3.4",)
_NAME, _TITLE = "policy.exempt", "Traffic that is never blocked"
MUCH: Final = 0.5


class Exempt(Check):
    """Answers to clients and organisations in `never_block` and `never_block_organizations`."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        policy = known.config.policy
        self._clients, self._organizations = frozenset(policy.never_block), frozenset(policy.never_block_organizations)
        self._answers = self._exempt = 0
        self._met: set[str] = set()
        self._ids: list[str] = []

    def take(self, seen: Seen) -> None:
        """Count an answer."""
        self._answers += seen.answered
        organization = seen.event.client.organization
        if seen.answered and (
            seen.client in self._clients or (organization is not None and organization in self._organizations)
        ):
            self._exempt += 1
            self._met.add(seen.client if seen.client in self._clients else f"organisation {organization}")
            if len(self._ids) < EXAMPLES:
                self._ids.append(seen.event.event_id)

    def results(self) -> Iterator[Result]:
        """Say how much is exempt."""
        if not self.known.configured:
            yield Unjudged(_NAME, _TITLE, _CONTROLS, "no configuration was named: -c FILE")
        elif not self._exempt:
            listed = len(self._clients) + len(self._organizations)
            yield Clear(
                _NAME, _TITLE, _CONTROLS, f"{listed} names are exempt, and none of {self._answers:,} answers was theirs"
            )
        else:
            share = self._exempt / self._answers
            yield Finding(
                _NAME,
                _TITLE,
                _CONTROLS,
                "medium" if share >= MUCH else "low",
                f"{share:.0%} of all answers go to whom detection may throttle at most; whoever takes such a client's key is "
                "not stopped",
                f"{self._exempt:,} of {self._answers:,} answers, to {', '.join(sorted(self._met)[:EXAMPLES])}",
                "keep never_block short: a budget of the odometer ([[odometer.tiers]]) or a higher bar (`detector baseline "
                "accept`) does "
                "for most of them",
                {"answers": self._exempt, "of": self._answers, "names": sorted(self._met)},
                tuple(self._ids),
            )
