"""Which model a path asks for.

A path that somebody may have disguised, by ``..`` or ``//`` or ``;``, names no model, nor does one that is longer than any
model's: then every decision about the client counts, so a disguise gains nothing.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from detector.contracts.limits import ID_CHARACTERS

__all__ = ["model_finder", "plain_path"]

_LONGEST: Final = 2048  # characters: the time that a path takes must not be the caller's choice

# KServe's, Seldon's and Triton's: /v1/models/NAME:predict, /v2/models/NAME/versions/1/infer
_MODELS: Final = r"(?:/[^/]+)*?/v[12]/models/(?P<model>[^/:]+)(?:[:/].*)?"


def plain_path(uri: str) -> str | None:
    """Return the decoded path of an address, without its query; None where it is disguised or too long.

    >>> plain_path("/v1/models/fr%61ud:predict?x=1"), plain_path("https://h/a"), plain_path("/a/../b"), plain_path("/a//b")
    ('/v1/models/fraud:predict', '/a', None, None)
    """
    path = uri.partition("?")[0].partition("#")[0]
    if len(path) > _LONGEST:
        return None
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2] if "://" in path else ""
    path = unquote(path, errors="replace") if "%" in path else path
    if not path or not path.isprintable() or any(sign in path for sign in ("//", "/./", "/../", ";", "\\", "%", "\ufffd")):
        return None
    return None if path.endswith(("/.", "/..")) else path


def model_finder(pattern: str | None) -> Callable[[str], str | None]:
    """Return what finds the model in a plain path: KServe's paths, or those of a pattern with a group ``model``.

    >>> find = model_finder(None)
    >>> find("/v1/models/fraud:predict"), find("/serving/v2/models/fraud/infer"), find("/predict")
    ('fraud', 'fraud', None)

    A name that is longer than a log's may be is that of no model: callers would fill the memory and the log with them.
    """
    search = re.compile(_MODELS).fullmatch if pattern is None else re.compile(pattern).search

    def find(path: str) -> str | None:
        found = search(path)
        name = found["model"] if found is not None else None
        return name if name and len(name) <= ID_CHARACTERS else None

    return find
