"""Sizes of the search for links between accounts."""

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How links between accounts are sought; the configuration describes each setting.

    `entries` queries of a model are kept, behind as many cells as its reference has landmarks. `accounts` are counted at most.
    A group of accounts is forgotten `memory_ms` after its last event.
    """

    enabled: bool = True
    entries: int = 32_768
    accounts: int = 16_384
    memory_ms: int = 3 * DAY_MS
