"""How a model server is asked, and where the answers are in what it says.

==========================================  =============================================================================
``.../v1/models/M:predict``                 KServe's protocol V1: ``{"instances": [[...]]}``, ``{"predictions": [...]}``
``.../v2/models/M/infer``                   V2 (Triton, MLServer): tensors with names, shapes and types
``.../classify``                            classification in the style of OpenAI, as vLLM has it: ``{"input": [...]}``,
                                            ``{"data": [{"index", "probs", "label"}]}``
``.../chat/completions``                    a language model that answers with one class as one token
==========================================  =============================================================================

An answer is probabilities of the classes, one score of the second of two classes, or a label. A language model is shown the
numbers of an input as a list in JSON.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from detector.errors import EndpointError
from detector.redteam.conversation import Array

__all__ = ["Answers", "Chat", "Classify", "Instances", "Tensors", "WireProtocol", "protocol_of"]

Answers: TypeAlias = list[Any]
"""One entry an input: a list of numbers, a number, or a label."""

NAMES_OF_PROBABILITIES: Final = ("probabilities", "probs", "predict_proba", "scores")
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})


class WireProtocol(Protocol):
    """One form of asking."""

    @property
    def at_once(self) -> int:
        """How many inputs go into one request."""

    @property
    def about(self) -> str | None:
        """Path, in place of that of the address, that tells what the model takes; None where there is none."""

    def body(self, X: Array, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request for the inputs X (n, dimension); `known` is what `about` told."""

    def answers(self, document: Any) -> Answers:
        """Return the answers in a response, in the order of the inputs; raises `EndpointError` without an address."""


@dataclass(frozen=True, slots=True)
class Instances:
    """KServe's V1; the two keys can be others."""

    request_key: str = "instances"
    response_key: str = "predictions"
    at_once: int = 256
    about: str | None = None

    def body(self, X: Array, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request."""
        del known
        return {self.request_key: X.tolist()}

    def answers(self, document: Any) -> Answers:
        """Return the predictions; one that is an object is what it has under a name of probabilities."""
        predictions = _under(document, self.response_key)
        return [_of_object(entry) for entry in predictions] if isinstance(predictions, list) else []


@dataclass(frozen=True, slots=True)
class Tensors:
    """Protocol V2. Names and types of the tensors are asked for first, since servers insist on them."""

    about: str | None
    at_once: int = 256

    def body(self, X: Array, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request: one tensor, with the name, type and shape that the server told of its input."""
        wanted = _first(known.get("inputs"))
        shape = _fitting(wanted.get("shape"), X.shape)
        datatype = wanted.get("datatype")
        tensor = {
            "name": wanted.get("name", "input-0"),
            "shape": shape,
            "datatype": datatype if isinstance(datatype, str) and datatype in _FLOATS else "FP64",
            "data": X.ravel().tolist(),
        }
        outputs = known.get("outputs")
        names = [entry.get("name") for entry in outputs if isinstance(entry, Mapping)] if isinstance(outputs, list) else []
        asked = [{"name": name} for name in names if name in NAMES_OF_PROBABILITIES]
        return {"inputs": [tensor], **({"outputs": asked} if asked else {})}

    def answers(self, document: Any) -> Answers:
        """Return the rows of the tensor of probabilities, or, where there is none, the entries of that of labels."""
        outputs = [entry for entry in _under(document, "outputs") if isinstance(entry, Mapping)]
        wide = [one for one in outputs if one.get("datatype") in _FLOATS and _width(one) > 1]
        scores = [one for one in outputs if one.get("datatype") in _FLOATS and _width(one) == 1]
        others = [one for one in outputs if one.get("datatype") not in _FLOATS]
        chosen = [*wide, *others, *scores]
        if not chosen:
            raise EndpointError("answered without a tensor of numbers in 'outputs'")
        tensor = chosen[0]
        data = _flat(tensor.get("data"))
        width = _width(tensor)
        if len(data) % width:
            raise EndpointError("answered with a tensor whose data does not fit its shape")
        return [data[at : at + width] if width > 1 else data[at] for at in range(0, len(data), width)]


@dataclass(frozen=True, slots=True)
class Classify:
    """Classification in the style of OpenAI's embeddings, as vLLM has it."""

    model: str
    at_once: int = 64
    about: str | None = None

    def body(self, X: Array, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request; each input is a text that lists its numbers."""
        del known
        return {"model": self.model, "input": [json.dumps(row) for row in X.tolist()]}

    def answers(self, document: Any) -> Answers:
        """Return the probabilities by index, or the labels where there are none."""
        entries = [entry for entry in _under(document, "data") if isinstance(entry, Mapping)]
        if any("index" in entry for entry in entries):
            entries.sort(key=lambda entry: _number(entry.get("index")))
            if [entry.get("index") for entry in entries] != list(range(len(entries))):
                raise EndpointError("answered with entries whose indices are not those of the inputs, each once")
        return [entry["probs"] if isinstance(entry.get("probs"), list) else entry.get("label") for entry in entries]


@dataclass(frozen=True, slots=True)
class Chat:
    """A language model that is asked for one class as one token; `names` are the classes as it says them."""

    model: str
    names: Sequence[str]
    at_once: int = 1
    about: str | None = None

    def body(self, X: Array, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request about one input."""
        del known
        content = json.dumps(X[0].tolist())
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": min(max(len(self.names), 1), 20),
        }

    def answers(self, document: Any) -> Answers:
        """Return the probabilities of the tokens that name a class, or the class where no probabilities were told."""
        choice = _first(_under(document, "choices"))
        token = _first((choice.get("logprobs") or {}).get("content"))
        said: dict[str, float] = {}
        for entry in token.get("top_logprobs") or ():
            word = str(entry.get("token", "")).strip()
            if word in self.names and isinstance(entry.get("logprob"), int | float):
                said[word] = said.get(word, 0.0) + math.exp(entry["logprob"])
        if said:
            total = sum(said.values())
            return [[said.get(name, 0.0) / total for name in self.names]]
        text = str((choice.get("message") or {}).get("content") or "").strip()
        return [self.names.index(text) if text in self.names else text]


def protocol_of(url: str, *, model: str | None = None, names: Sequence[str] = ()) -> WireProtocol:
    """Return the form of asking that an address speaks, by its path; V1 where the path says nothing.

    `model` is the id that APIs in the style of OpenAI want, `names` the classes as a language model says them.

    >>> type(protocol_of("http://localhost:8080/v2/models/digits/infer")).__name__
    'Tensors'
    """
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/infer") and "/v2/" in path:
        return Tensors(path.removesuffix("/infer"))
    if path.endswith("/chat/completions"):
        return Chat(model or "default", tuple(names))
    if path.endswith("/classify"):
        return Classify(model or "default")
    return Instances()


def _under(document: Any, key: str) -> Any:
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        keys = ", ".join(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise EndpointError(f"answered without {key!r}; there is: {keys[:200]}")
    return document[key]


def _first(entries: Any) -> Mapping[str, Any]:
    if isinstance(entries, list) and entries and isinstance(entries[0], Mapping):
        return entries[0]
    return {}


def _of_object(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    named = [entry[name] for name in (*NAMES_OF_PROBABILITIES, "label", "class") if name in entry]
    return named[0] if named else entry


def _width(tensor: Mapping[str, Any]) -> int:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise EndpointError("answered with a tensor without a shape")
    return max(math.prod(shape[1:]), 1)


def _fitting(declared: Any, shape: tuple[int, ...]) -> list[int]:
    """Return the shape of n inputs as the server declares it, such as (-1, 1, 8, 8), or as a matrix."""
    rows, dimension = shape
    if isinstance(declared, list) and len(declared) > 2 and all(type(size) is int for size in declared):
        inner = [abs(size) for size in declared[1:]]
        if math.prod(inner) == dimension:
            return [rows, *inner]
    return [rows, dimension]


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise EndpointError("answered with a tensor whose data is not in the body")
    while data and all(isinstance(entry, list) for entry in data):
        data = [value for entry in data for value in entry]
    found: list[Any] = data
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
