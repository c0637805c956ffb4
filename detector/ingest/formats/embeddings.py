"""Embeddings that a gateway or the server computed: found where ``[inputs] embedding`` says, the input in place of a text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from detector.ingest.formats.bodies import Instance
from detector.ingest.formats.call import Call
from detector.ingest.formats.event import UnusableError

__all__ = ["Embeddings"]


class Embeddings:
    """Looks for embeddings: in each instance of a request, else in the record, for all instances in their order.

    >>> Embeddings("vector").instead(Call("c", None, None, document={"vector": [0.5, 2]}), ["red fox"])
    [[0.5, 2]]
    """

    def __init__(self, path: str | None) -> None:
        """Look at `path`, a JMESPath; None leaves all inputs as they are."""
        self._name = path
        self._path = None if path is None else jmespath.compile(path)

    def instead(self, call: Call, instances: Sequence[Instance]) -> list[Instance]:
        """Return the inputs to use. Raises `UnusableError` where an embedding is missing: texts would be of another space."""
        if self._path is None:
            return list(instances)
        of_instances = [self._at(instance) if isinstance(instance, Mapping) else None for instance in instances]
        if all(found is not None for found in of_instances):
            return [found for found in of_instances if found is not None]
        whole = _vectors(self._search(call.document))
        if len(whole) != len(instances):
            raise UnusableError("schema", f"input: {len(whole)} embeddings at {self._name} for {len(instances)} inputs")
        return list(whole)

    def _at(self, instance: Mapping[str, Any]) -> list[float] | None:
        found = _vectors(self._search(instance))
        return found[0] if len(found) == 1 else None

    def _search(self, document: Any) -> Any:
        if self._path is None or not isinstance(document, Mapping):
            return None
        try:
            return self._path.search(document)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
            return None


def _vectors(value: Any) -> list[list[float]]:
    """Return one vector, or several, as a list of vectors; an empty one for anything else."""
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    return list(rows) if all(map(_is_vector, rows)) else []


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, int | float) and not isinstance(entry, bool) for entry in value)
        and all(not isinstance(entry, float) or math.isfinite(entry) for entry in value)
    )
