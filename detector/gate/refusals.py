"""A sampled log of refusals: enough to see who is refused and why, never more than a few lines a second."""

import structlog

from detector.gate.verdict import Verdict

__all__ = ["RefusalLog"]

log = structlog.get_logger(__name__)


class RefusalLog:
    """Logs at most `per_second` refusals a second; a line says how many were left out before it."""

    def __init__(self, per_second: float) -> None:
        """Log nothing where `per_second` is 0."""
        self._gap_s = 1.0 / per_second if per_second > 0 else float("inf")
        self._next_s = 0.0
        self._left_out = 0

    def add(self, verdict: Verdict, client: str, model: str | None, now_s: float) -> None:
        """Take one refusal; the log shows a digest of the client, except at level debug."""
        if now_s < self._next_s or self._gap_s == float("inf"):
            self._left_out += 1
            return
        left_out, self._left_out, self._next_s = self._left_out, 0, now_s + self._gap_s
        log.info(
            "refused",
            client=client or None,
            model=model,
            action=verdict.action,
            cause=verdict.cause,
            status=verdict.status,
            left_out=left_out,
        )
