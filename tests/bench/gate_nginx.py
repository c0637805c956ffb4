"""An nginx before a model that answers at once, with the gate and without: the difference is what the gate adds to a request.

Both are the recipe of deploy/gateways; the one without lacks the line `auth_request` alone. The model is a second server of the
same nginx, so that a request costs little but what is compared.
"""

from tests.servers.gateways.programs import LocalNginx
from tests.servers.process import free_port

__all__ = ["BenchNginx", "gated", "ungated"]

ASKS = "auth_request /_detector;"


class BenchNginx(LocalNginx):
    """The recipe with a model in the same program; it asks the gate on `gate`, or nobody where that is None."""

    def __init__(self, gate: int | None) -> None:
        """Describe one; `start` (or ``with``) starts it."""
        self._model = free_port()
        self._asks = gate is not None
        super().__init__(gate=gate or free_port(), model=self._model, perturbed=free_port())

    def _furnish(self) -> None:
        super()._furnish()
        whole, recipe = self.folder / "nginx.conf", self.folder / "detector.conf"
        model = f"server {{ listen 127.0.0.1:{self._model}; keepalive_requests 1000000; location / {{ return 200; }} }}"
        text = whole.read_text(encoding="utf-8")
        whole.write_text(text.replace("include detector.conf;", f"include detector.conf; {model}"), encoding="utf-8")
        if not self._asks:
            text = recipe.read_text(encoding="utf-8")
            if ASKS not in text:
                raise ValueError(f"the recipe has no line {ASKS}")
            recipe.write_text(text.replace(ASKS, ""), encoding="utf-8")


def gated(gate: int) -> BenchNginx:
    """Return an nginx that asks the gate on this port."""
    return BenchNginx(gate)


def ungated() -> BenchNginx:
    """Return an nginx that asks nobody."""
    return BenchNginx(None)
