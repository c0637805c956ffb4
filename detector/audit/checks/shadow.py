"""Whether decisions are carried out at all, or only simulated."""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen
from detector.audit.table import Distinct
from detector.gate.store import PERTURB, THROTTLE
from detector.names import counted

__all__ = ["Shadow"]

_CONTROLS: Final = ("AISVS v1.0-C11.3.4", "AISVS v1.0-C12.4.3")
_NAME, _TITLE = "shadow.decisions", "Decisions are only simulated"


class Shadow(Check):
    """Simulated decisions, and the answers that they would have stopped."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._answers = 0
        self._clients = Distinct()
        self._ids: list[str] = []

    def take(self, seen: Seen) -> None:
        """Count an answer under a simulated decision that is harder than what was in force."""
        if seen.answered and seen.standing.simulated >= PERTURB > seen.standing.rank:
            self._answers += 1
            self._clients.add(seen.client)
            if len(self._ids) < EXAMPLES:
                self._ids.append(seen.event.event_id)

    def results(self) -> Iterator[Result]:
        """Say whether the decisions, and the configuration, are real."""
        yield self._decided()
        yield self._configured()

    def _decided(self) -> Result:
        trail = self.known.trail
        if trail is None:
            return Unjudged(_NAME, _TITLE, _CONTROLS, "no decisions were named: --decisions FILE")
        hard = [entry for entry in trail.entries if entry.record.rank >= THROTTLE]
        if not hard:
            return Unjudged(_NAME, _TITLE, _CONTROLS, f"{trail.path} holds no decision to throttle, perturb or block")
        simulated = sum(entry.record.simulated for entry in hard)
        figures = {
            "decisions": len(hard),
            "simulated": simulated,
            "answers": self._answers,
            "clients": len(self._clients),
            "clients_exact": self._clients.exact,
        }
        if simulated < len(hard):
            seen = f"{len(hard) - simulated:,} of {len(hard):,} decisions to throttle, perturb or block are real"
            return Clear(_NAME, _TITLE, _CONTROLS, seen, figures)
        return Finding(
            _NAME,
            _TITLE,
            _CONTROLS,
            "high" if self._answers else "medium",
            "answers went on to clients that a real decision would have stopped"
            if self._answers
            else "detection triggers no response while every decision is simulated",
            f"all {simulated:,} decisions to throttle, perturb or block are simulated; {counted(self._answers, 'answer')} to "
            f"{self._clients.of('client')} would have been refused or made coarse",
            'look at whom they name; then [policy] shadow = false, or shadow = false in [models."ID"] for a first model',
            figures,
            tuple(self._ids),
        )

    def _configured(self) -> Result:
        name, title = "shadow.configuration", "Shadow mode is on"
        if not self.known.configured:
            return Unjudged(name, title, _CONTROLS, "no configuration was named: -c FILE")
        config = self.known.config
        models = sorted(model for model, section in config.models.items() if section.shadow)
        live = sorted(model for model, section in config.models.items() if section.shadow is False)
        channels = sorted(config.policy.shadow_channels)
        figures = {"shadow": config.policy.shadow, "shadow_models": models, "real_models": live, "shadow_channels": channels}
        but = f", but for {', '.join(live)}" if config.policy.shadow and live else ""
        also = "".join(f"; {what} {', '.join(names)}" for what, names in (("models", models), ("evidence", channels)) if names)
        if not config.policy.shadow:
            return Clear(
                name, title, _CONTROLS, f"[policy] shadow is false{'; simulated for' + also[1:] if also else ''}", figures
            )
        return Finding(
            name,
            title,
            _CONTROLS,
            "low" if live else "medium",
            "it is the default of a new set-up, and stops nobody",
            f"[policy] shadow is true{but}{also}",
            "[policy] shadow = false and trust_clients, once the decisions have been looked at",
            figures,
        )
