"""Which model a path asks for.

A path that somebody may have disguised, by ``..`` or ``//`` or ``;``, names no model: then every decision about the client
counts, so a disguise gains nothing.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

__all__ = ["model_finder", "plain_path"]

# KServe's, Seldon's and Triton's: /v1/models/NAME:predict, /v2/models/NAME/versions/1/infer
_MODELS: Final = r"(?:/[^/]+)*?/v[12]/models/(?P<model>[^/:]+)(?:[:/].*)?"


def plain_path(uri: str) -> str | None:
    """Return the decoded path of an address, without its query; None where it is disguised.

    >>> plain_path("/v1/models/fr%61ud:predict?x=1"), plain_path("https://h/a"), plain_path("/a/../b"), plain_path("/a//b")
    ('/v1/models/fraud:predict', '/a', None, None)
    """
    path = uri.partition("?")[0].partition("#")[0]
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
    """
    search = re.compile(_MODELS).fullmatch if pattern is None else re.compile(pattern).search

    def find(path: str) -> str | None:
        found = search(path)
        return (found["model"] or None) if found is not None else None

    return find
