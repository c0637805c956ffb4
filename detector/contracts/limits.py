"""Lengths that bound every text of a record, in characters."""

from typing import Final

ID_CHARACTERS: Final = 256
TEXT_CHARACTERS: Final = 256
USER_AGENT_CHARACTERS: Final = 1024
