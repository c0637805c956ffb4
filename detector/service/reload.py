"""Reload: policy settings that change under a running service, on SIGHUP.

Only policy is taken from the file: `[policy]`, the budgets of `[odometer]` and the `shadow` of models. `[policy] shadow`,
`trust_clients` and `[odometer] enabled` stay, and so does everything else; a change of those is named in the log and needs a
restart. A file with an error changes nothing.

A worker asks between two batches, so each batch is judged under one policy. Decisions say which one, in `policy_version`. The
state of clients is not touched. What is in force stays until it expires or is lifted.
"""

from collections.abc import Callable
from typing import Protocol

import structlog

from detector.baseline.secret import require
from detector.baseline.settings import policy_settings
from detector.config import Config
from detector.config.whole import KEPT, MEASURED
from detector.errors import ConfigError
from detector.service.telemetry.metrics import Metrics

Reader = Callable[[], Config]

log = structlog.get_logger(__name__)


class Asked(Protocol):
    """An event that is set when the settings shall be read again; of threads, or of processes."""

    def is_set(self) -> bool:
        """Return whether it is set."""

    def clear(self) -> None:
        """Reset it."""


class PolicyReloader:
    """Reads the configuration again when asked to; `config` is the one in force."""

    def __init__(self, config: Config, asked: Asked, read: Reader, metrics: Metrics | None = None) -> None:
        self.config = config
        self._asked = asked
        self._read = read
        self._metrics = metrics

    def due(self) -> Config | None:
        """Return the configuration with another policy, once after each time that was asked; None where nothing changes."""
        if not self._asked.is_set():
            return None
        self._asked.clear()
        try:
            read = self._read()
            after = self.config.with_policy(read)
            was, now = policy_settings(self.config), policy_settings(after)
            _check(after)
        except ConfigError as error:
            log.error(  # noqa: TRY400  # the sentence says all; a trace would hide it
                "configuration refused: the policy in force stays", policy=self._version, cause=str(error)
            )
            self._count("refused")
            return None
        if left := changed(after, read):
            log.warning("changes that need a restart are left out", changed=left)
        self._count("taken")
        if was == now:
            log.info("policy read again: nothing has changed", policy=now.version)
            return None
        self.config = after
        log.info("policy changed", policy=now.version, before=was.version, config_version=after.version)
        return after

    @property
    def _version(self) -> str:
        return policy_settings(self.config).version

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.reloaded(outcome)


def _check(after: Config) -> None:
    """Raise `ConfigError` where decisions would be real without what that needs."""
    if after.enforces and after.policy.trust_clients is None:
        raise ConfigError("a model with shadow = false needs [policy] trust_clients, and a change of that needs a restart")
    require(after)


def changed(ours: Config, read: Config) -> list[str]:
    """Return the names of the sections that differ, and of policy those of the keys."""
    sections = [name for name in type(ours).model_fields if getattr(ours, name) != getattr(read, name)]
    keys = [f"policy.{name}" for name in sorted(KEPT) if getattr(ours.policy, name) != getattr(read.policy, name)]
    keys += [f"odometer.{name}" for name in sorted(MEASURED) if getattr(ours.odometer, name) != getattr(read.odometer, name)]
    return [*keys, *(name for name in sections if name not in {"policy", "odometer"})]
