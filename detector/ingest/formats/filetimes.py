"""``[ingest] missing_time = "file"``: records of files that have no time get that at which their file was last written.

All records of a file then have one time, so what looks at pauses and rates sees nothing, and the order is that of the file.
"""

from pathlib import Path
from typing import Final

from detector.ingest import remote
from detector.ingest.formats.decoder import Decoder, Record, Unwrapping

__all__ = ["FileTimes"]

_MOST_FILES: Final = 10_000  # whose times are remembered


class FileTimes(Unwrapping):
    """Gives each record without a time that of the file that it is from; a time within the record goes before it.

    Standard input and files that are gone have no time: their records stay as they are.
    """

    def __init__(self, inner: Decoder) -> None:
        """Decode with `inner`."""
        super().__init__(inner)
        self._times: dict[str, int | None] = {}

    def within(self, record: Record) -> Record:
        """Return the record with a time."""
        if record.time_ms is not None:
            return record
        name = record.topic
        if name not in self._times:
            if len(self._times) >= _MOST_FILES:
                self._times.clear()
            self._times[name] = _written_ms(name)
        return record._replace(time_ms=self._times[name])


def _written_ms(name: str) -> int | None:
    if remote.is_url(name):
        return remote.modified_ms(name)
    try:
        return Path(name).stat().st_mtime_ns // 1_000_000
    except (OSError, ValueError):  # a name may hold characters that no file name can
        return None
