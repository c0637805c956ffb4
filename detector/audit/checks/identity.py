"""Whether the log says who asked, and whether anybody vouches for it."""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Asked, Seen
from detector.audit.table import Distinct
from detector.names import counted

__all__ = ["Identity"]

_MANY: Final = 0.01  # share of queries without a name from which on it is no accident
_MISSING: Final = ("AISVS v1.0-C11.2.2", "AISVS v1.0-C12.1.1", "ASVS v5.0.0-16.2.1")
_UNTRUSTED: Final = ("AISVS v1.0-C11.2.2", "AISVS v1.0-C5.2.1", "ASVS v5.0.0-8.3.1")


class Identity(Check):
    """Queries without a client, and clients that callers could have named themselves."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._events = self._nameless = self._untrusted = self._unsaid = 0
        self._clients = Distinct()
        self._ids: list[str] = []

    def take(self, seen: Seen) -> None:
        """Look whether the client is vouched for."""
        self._events += 1
        trusted = seen.event.client.trusted
        if trusted is None:
            trusted = self.known.config.policy.trust_clients if self.known.configured else None
        if trusted is None:
            self._unsaid += 1
        elif not trusted:
            self._untrusted += 1
            self._clients.add(seen.client)
            if len(self._ids) < EXAMPLES:
                self._ids.append(seen.event.event_id)

    def refuse(self, asked: Asked) -> None:
        """Count a record that names nobody."""
        self._nameless += asked.refusal.reason == "unidentified"

    def results(self) -> Iterator[Result]:
        """Say how many queries nobody stands behind."""
        yield self._missing()
        yield from self._forged()

    def _missing(self) -> Result:
        queries = self._events + self._nameless
        figures = {"events": self._nameless, "of": queries}
        name, title = "identity.missing", "Queries without a client"
        if not self._nameless:
            return Clear(name, title, _MISSING, f"each of {queries:,} queries names a client", figures)
        share = self._nameless / queries
        return Finding(
            name,
            title,
            _MISSING,
            "high" if share >= _MANY else "low",
            "whoever has no name has no limit and no decision; " + ("1% or more" if share >= _MANY else "under 1%") + " of all",
            f"{self._nameless:,} of {queries:,} queries ({share:.1%}) name no client",
            "let the gateway refuse calls without a login ([gate] missing_identity), and say where the log names the caller "
            "([[ingest.clients]])",
            figures,
        )

    def _forged(self) -> Iterator[Result]:
        name, title = "identity.untrusted", "Clients that nobody vouches for"
        if self._untrusted:
            share = self._untrusted / self._events
            yield Finding(
                name,
                title,
                _UNTRUSTED,
                "high" if share >= 0.5 else "medium",
                "a caller who can write its own name leaves every limit by another name, and brings others' into suspicion; "
                f"{share:.0%} of all queries",
                f"{counted(self._untrusted, 'query', 'queries')} of {self._clients.of('client')}: the caller could "
                "have written the name",
                "let the gateway set client.id from a verified login; see the page on the security model",
                {"events": self._untrusted, "clients": len(self._clients), "clients_exact": self._clients.exact},
                tuple(self._ids),
            )
        elif self._unsaid == self._events:
            yield Unjudged(
                name,
                title,
                _UNTRUSTED,
                "no event has client.trusted, and no configuration says [policy] trust_clients",
            )
        else:
            yield Clear(
                name,
                title,
                _UNTRUSTED,
                f"{self._events - self._unsaid:,} queries are said to be of verified clients; of {self._unsaid:,} nobody says",
                {"events": self._events, "unsaid": self._unsaid},
            )
