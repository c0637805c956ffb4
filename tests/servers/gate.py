"""A real gate on this machine: `detector gate` as a process of its own."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tests.servers.own import OwnServer
from tests.servers.server import nothing

__all__ = ["LocalGate"]


class LocalGate(OwnServer):
    """A gate in a temporary folder, with the settings of `[gate]` and `[kafka]` that are given.

    It serves before it has read its decisions; `wait_until_ready` waits for that, too.
    """

    NAME: ClassVar[str] = "the gate"
    ONE: ClassVar[str] = "a gate"
    PREFIX: ClassVar[str] = "detector-gate-"
    READY: ClassVar[bytes] = b"answering on"
    COMMAND: ClassVar[tuple[str, ...]] = ("gate",)

    def __init__(
        self,
        gate: Mapping[str, Any] | None = None,
        kafka: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[str], None] = nothing,
    ) -> None:
        """Describe a gate; `start` (or ``with``) starts it."""
        super().__init__({"gate": gate or {}, "kafka": kafka or {}}, tell=tell)

    def action(self, client: str, path: str = "/auth/v1/models/fraud:predict") -> str:
        """Return the action that a client gets."""
        return self.ask(path, {"X-Client-Id": client})[1]["x-detector-action"]

    def metric(self, line: str) -> float:
        """Return the value of a metric, by its name with its labels; 0 where there is none yet."""
        for each in self.ask("/metrics")[2].splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        return 0.0

    def _listen_on(self, port: int) -> None:
        self._sections["gate"]["port"] = port
