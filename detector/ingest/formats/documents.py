"""Records that are parsed once, although they are looked at twice: for their time or their format, and to be decoded."""

from collections import OrderedDict
from typing import Any, Final

__all__ = ["Documents"]

_MOST_BYTES: Final = 4 * 1024 * 1024  # of the records whose meaning is kept; what they mean takes several times as much


class Documents:
    """Keeps what records mean until they are decoded; one for each thread. The oldest go where there are too many.

    >>> documents = Documents()
    >>> documents.keep(b"[1]", [1])
    >>> documents.take(b"[1]"), documents.take(b"[1]")
    ([1], None)
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._bytes = 0

    def keep(self, value: bytes, document: Any) -> None:
        """Keep what a record means; None and a record that is kept already are not kept."""
        if document is None or value in self._kept:
            return
        self._kept[value] = document
        self._bytes += len(value)
        while self._bytes > _MOST_BYTES:
            oldest, _ = self._kept.popitem(last=False)
            self._bytes -= len(oldest)

    def take(self, value: bytes) -> Any:
        """Return what a record means and forget it, None where that is not kept."""
        document = self._kept.pop(value, None)
        if document is not None:
            self._bytes -= len(value)
        return document
