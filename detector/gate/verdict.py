"""What the gate says about one request."""

from typing import Final, Literal, NamedTuple

__all__ = ["PASSES", "Cause", "Verdict"]

Cause = Literal[
    "decision", "ceiling", "model_ceiling", "no_identity", "repeated_identity", "unknown_identity", "unready", "canary", "none"
]

PASSES: Final = 200


class Verdict(NamedTuple):
    """An action of the contract's ladder, the status for the caller, and why; `retry_after` in seconds, 0 for none."""

    action: str
    status: int
    cause: Cause
    retry_after: int = 0

    @property
    def passes(self) -> bool:
        """Whether the request goes on to the model."""
        return self.status == PASSES
