"""How long a text may be, in characters: the same for every reader of events, so that an event passes all of them or none."""

from typing import Final

__all__ = ["ID_CHARACTERS", "MARK_SUBJECT_CHARACTERS", "RANKING_ITEMS", "TEXT_CHARACTERS", "USER_AGENT_CHARACTERS"]

ID_CHARACTERS: Final = 256
"""An id of an event, a client or a model; at least 1."""

TEXT_CHARACTERS: Final = 256
"""Any other text that describes a client or a model."""

USER_AGENT_CHARACTERS: Final = 1024
"""Browsers send up to some hundred; proxies and servers cut at 4,096 or more."""

RANKING_ITEMS: Final = 1000
"""Items of a ranking. Lists that are shown have tens; whoever logs the whole catalogue in order logs its first items."""

MARK_SUBJECT_CHARACTERS: Final = 288
"""The subject of a mark: its kind, a colon and an id."""
