"""JSON as logs hold it: what is strict is read fast, and what only Python's own parser takes is read by that.

The fast parser takes no NaN, no half of a surrogate pair and no number that float64 does not hold. Python's does, and names
the place of a mistake. Where both take a text they mean the same, but for whole numbers of 25 digits and more, which may
stay exact.
"""

import json
from typing import Any, Final

import msgspec

__all__ = ["read_json"]

_LONGEST_INTEGER: Final = 25  # digits from which a whole number becomes a float
_decode = msgspec.json.Decoder().decode


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text means; bytes are UTF-8, with or without a byte order mark.

    Raises RecursionError where it is nested too deep, UnicodeDecodeError for bytes that are not UTF-8, and ValueError.

    >>> read_json(b'{"a": 1.5}'), read_json("[NaN]")
    ({'a': 1.5}, [nan])
    """
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"), parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)
