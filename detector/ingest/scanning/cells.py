"""What is written of a record: a row of whole numbers. Texts are spans, two columns each, 0 where there is none.

A span says where the text lies, counted from the address of the first record; text never begins there.
"""

from typing import Final

__all__ = [
    "ADDRESS",
    "AGENT",
    "CLIENT",
    "CODE",
    "EVENT",
    "HOLDS",
    "LABEL",
    "LENGTH",
    "MODEL",
    "OFFSET",
    "ORGANIZATION",
    "SAME_MODEL",
    "SAME_SENDER",
    "SAME_VERSION",
    "SEEN",
    "TIME",
    "TOP",
    "TRUSTED",
    "TYPE",
    "VERSION",
    "WIDTH",
]

EVENT: Final = 0
CLIENT: Final = 2
MODEL: Final = 4
VERSION: Final = 6
TYPE: Final = 8
ORGANIZATION: Final = 10
ADDRESS: Final = 12
AGENT: Final = 14
TRUSTED: Final = 16  # 0 not said, 1 false, 2 true
HOLDS: Final = 17  # of the texts above: see `texts`
TIME: Final = 18  # ms
OFFSET: Final = 19  # of the vector among all values
LENGTH: Final = 20  # of the vector
CODE: Final = 21  # of the label
SEEN: Final = 22  # whether the record was understood
SAME_MODEL: Final = 23  # the first row of the same model that is known, or this one
SAME_VERSION: Final = 24  # likewise; -1 without a version
SAME_SENDER: Final = 25  # likewise; -1 where nothing is said of the client
TOP: Final = 26  # the place of the largest probability
LABEL: Final = 27  # the span of a label with escapes, whose code is made of the text they mean
WIDTH: Final = 29
