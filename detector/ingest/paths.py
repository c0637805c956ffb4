"""What is given as a log -> the files to read: folders, patterns and URLs are expanded, in a fixed order."""

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from detector.errors import SourceError
from detector.ingest import remote

__all__ = ["expand"]

_WILD: Final = re.compile(r"[*?\[]")


def expand(logs: Sequence[str]) -> list[str]:
    """Return the files that `logs` name: files as they are, those in a folder and below it, those that a pattern matches.

    Of a folder and of what a pattern matches, files and folders that begin with a dot or an underscore (``_SUCCESS``) are left
    out, and empty files. What a folder or a pattern gives is named once; a file that is named itself as often as it is. A name
    that is no folder, no pattern and no file is returned as it is.

    Raises `SourceError` where a folder or a pattern gives no file, or a store cannot be asked.
    """
    found: list[str] = []
    for log in logs:
        files = _of(log)
        found += files if files == [log] else [file for file in files if file not in found]
    return found


def _of(log: str) -> list[str]:
    if log == "-":
        return [log]
    if remote.is_url(log):
        sizes = remote.expanded(log)
        if not sizes:
            return [log]
        if list(sizes) == [log]:
            return [log]
        return _some(log, (name for name, size in sizes.items() if size and not _hidden(name.removeprefix(log))))
    try:
        path = Path(log)
        if path.is_dir():
            within = (file for file in path.rglob("*") if file.is_file() and not _hidden(str(file.relative_to(path))))
            return _some(log, (str(file) for file in within if file.stat().st_size))
        if not _WILD.search(log) or path.exists():
            return [log]
        matched: list[str] = []
        fixed = len(_WILD.split(log, maxsplit=1)[0].rpartition("/")[0])
        for name in glob.glob(log, recursive=True):  # noqa: PTH207  # a pattern may be absolute
            file = Path(name)
            if file.is_file() and file.stat().st_size and not _hidden(name[fixed:]):
                matched.append(name)
        return _some(log, matched)
    except ValueError:  # a name may hold characters that no file name can
        return [log]
    except OSError as error:
        raise SourceError(f"{log}: cannot be read: {error.strerror or error}") from error


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/") if part)


def _some(log: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    if not found:
        raise SourceError(f"{log}: there is no log file in it")
    return found
