"""Logs in object stores, by URL: ``s3://``, ``gs://``, ``abfs://`` and whatever else fsspec knows. Needs the extra ``remote``.

Credentials are those that the store's own client finds in the environment. Besides fsspec each store needs its package, such as
s3fs for S3; where that is missing, the error names it.
"""

import re
from typing import Any, BinaryIO, Final, cast

from detector.errors import SourceError

__all__ = ["expanded", "is_url", "modified_ms", "opened", "size_of"]

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WILD: Final = re.compile(r"[*?\[]")


def is_url(name: str) -> bool:
    """Tell whether a log is named by a URL.

    >>> is_url("s3://bucket/log.jsonl"), is_url("logs/log.jsonl")
    (True, False)
    """
    return _URL.match(name) is not None


def _fsspec(name: str) -> Any:
    try:
        import fsspec  # noqa: PLC0415
    except ImportError as error:
        raise SourceError(
            f"{name}: to read from a URL, fsspec must be installed: pip install 'model-extraction-detector[remote]'"
        ) from error
    return fsspec


def opened(name: str) -> BinaryIO:
    """Open the file that a URL names. Raises `SourceError` where it cannot be opened."""
    fsspec = _fsspec(name)
    try:
        files, path = fsspec.core.url_to_fs(name)
        return cast("BinaryIO", files.open(path, "rb"))
    except FileNotFoundError as error:
        raise SourceError(f"{name}: no such file") from error
    except Exception as error:  # each store's client has errors of its own
        raise SourceError(f"{name}: cannot be opened: {error}") from error


def size_of(file: Any) -> int | None:
    """Return how many bytes an open file has, None where that is unknown."""
    size = getattr(file, "size", None)
    return size if isinstance(size, int) else None


def modified_ms(name: str) -> int | None:
    """Return when the file that a URL names was last written, in milliseconds; None where its store does not say."""
    try:
        files, path = _fsspec(name).core.url_to_fs(name)
        return int(files.modified(path).timestamp() * 1000)
    except Exception:  # noqa: BLE001  # each store's client has errors of its own, and some know no times
        return None


def expanded(name: str) -> dict[str, int]:
    """Return the files that a URL names, itself, those in its folder, or those that its pattern matches, with their sizes.

    Raises `SourceError` where the store cannot be asked.
    """
    fsspec = _fsspec(name)
    try:
        files, path = fsspec.core.url_to_fs(name)
        if _WILD.search(path):
            found = files.glob(path, detail=True)
        elif files.isdir(path):
            found = files.find(path, detail=True)
        else:
            return {name: 1} if files.exists(path) else {}
    except Exception as error:  # each store's client has errors of its own
        raise SourceError(f"{name}: cannot be listed: {error}") from error
    return {files.unstrip_protocol(at): int(about.get("size") or 0) for at, about in found.items() if about["type"] == "file"}
