"""Waiting for what another thread, process or server does."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], patience_s: float = 300.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(0.02)
