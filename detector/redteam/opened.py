"""One way to open a model, whatever it is: a function, a server, a file, or a model of the red team.

=======================  ==============================================================================================
``module:function``      of Python, also of the current folder: a function of X (n, dimension), or an estimator
``http://``, ``https://``  a server, see `detector.redteam.protocols`; on this machine only, unless it is said to be one's own
``FILE.onnx``            extra ``onnx``
``FILE.pkl``             and ``.pickle``, ``.joblib``: only where it is trusted, since a pickle runs code
``digits``, ``mlp:wine``   and the others of `detector.redteam.targets`
=======================  ==============================================================================================

Answers are probabilities (n, classes). A score between 0 and 1 is the probability of the second of two classes; a label becomes
a certainty. Everything else is refused, with the place of the input: nothing is guessed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from detector.errors import ConfigError, EndpointError, ModelError
from detector.redteam.conversation import Array
from detector.redteam.endpoint import Endpoint, Traffic
from detector.redteam.loading import PICKLES, Says, loaded_function, loaded_onnx, loaded_pickle
from detector.redteam.network import one_hot
from detector.redteam.permission import OWN, permitted
from detector.redteam.protocols import protocol_of
from detector.redteam.targets import Target, named

__all__ = ["FORMS", "Form", "OpenedModel", "Opening", "open_model"]

Form: TypeAlias = Literal["function", "http", "onnx", "pickle", "named"]
FORMS: Final = (
    "module:function, http(s)://..., FILE.onnx, FILE.pkl with --trust-pickle, digits, loans, mlp:wine, tree:iris, ..."
)
NAMED: Final = ("demo", "digits", "loans", "mlp", "linear", "tree")
SLACK: Final = 0.02  # rounding of probabilities that sum to 1


@dataclass(frozen=True, slots=True)
class Opening:
    """How a model is opened.

    `own` says that a server elsewhere may be asked, and `permission` names the option that says so. `trust_pickle` says that a
    pickle is one's own. `names` are the classes in their order,
    and `classes` how many there are, where the model tells labels only. `model` is the id that APIs in the style of OpenAI
    want. `headers` and `timeout` (seconds) are those of requests; `seed` trains the models of the red team.
    """

    own: bool = False
    permission: str = OWN
    trust_pickle: bool = False
    classes: int | None = None
    names: Sequence[str] = ()
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    timeout: float = 30.0
    attempts: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class OpenedModel:
    """A model that can be asked.

    `predict` takes X (n, dimension) of numbers and returns probabilities (n, `classes`); where `labels_only`, they are
    certainties. It raises `ModelError`, whose `row` is the place in X of the input that could not be answered. With `local` the
    model runs in this process, so that asking costs nobody anything. `target` is that of a model of the red team, with the
    examples that go with it, None for others; `traffic` counts requests, None where there are none.
    """

    id: str
    form: Form
    local: bool
    classes: int
    labels_only: bool
    predict: Callable[[Array], Array] = field(repr=False)
    target: Target | None = field(default=None, repr=False)
    traffic: Traffic | None = None


def open_model(name: str, sample: Array | None = None, opening: Opening | None = None) -> OpenedModel:
    """Open a model by its name, see the module.

    `sample` (n, dimension) are natural inputs, needed for all but models of the red team: the model is asked about the first
    of them, to learn how many classes there are; about all of them where it is local and tells labels only.

    Raises `ConfigError` for what is no model or must not be asked, and `ModelError` where it cannot answer.

    >>> opened = open_model("tree:iris")
    >>> opened.classes, opened.local, opened.labels_only, opened.predict(opened.target.test[:2]).shape
    (3, True, False, (2, 3))
    """
    opening = opening or Opening()
    kind = name.partition(":")[0]
    if kind in NAMED:
        target = named(name, opening.seed)
        return OpenedModel(name, "named", True, target.classes, False, _asker(target.predict, name, target.classes), target)
    form, says, traffic = _found(name, opening)
    if sample is None or sample.ndim != 2 or not len(sample):
        raise ConfigError(f"{name}: natural inputs are needed to ask it about: name them with --data")
    local = form != "http"
    first = _said(says, sample[:1], name)
    labels_only = first.ndim == 1 and not _is_score(first)
    names = tuple(opening.names)
    if labels_only and not names:
        names = _classes_of_labels(says, sample if local else sample[:1], opening.classes, name)
    classes = len(names) if labels_only else 2 if first.ndim == 1 else first.shape[1]
    if not labels_only and opening.classes is not None and opening.classes != classes:
        raise ConfigError(f"{name}: tells {classes} classes, not {opening.classes}")
    order = {label: place for place, label in enumerate(names)}

    def probabilities(X: Array) -> Array:
        answers = _said(says, X, name)
        if labels_only:
            return one_hot(_places(answers, order, name), classes)
        return np.column_stack([1.0 - answers, answers]) if answers.ndim == 1 else answers

    opened = OpenedModel(name, form, local, classes, labels_only, _asker(probabilities, name, classes), None, traffic)
    opened.predict(sample[:1])
    return opened


def _found(name: str, opening: Opening) -> tuple[Form, Says, Traffic | None]:
    if name.startswith(("http://", "https://")):
        local = permitted(name, opening.own, opening.permission)
        names = opening.names or ([str(number) for number in range(opening.classes)] if opening.classes else ())
        protocol = protocol_of(name, model=opening.model, names=names)
        endpoint = Endpoint(
            name,
            headers=opening.headers,
            timeout=opening.timeout,
            attempts=opening.attempts,
            classes=opening.classes,
            direct=local,  # to the proxy of the environment, this machine's address would be its own
            protocol=protocol,
        )
        return "http", endpoint.raw, endpoint.traffic
    path = Path(name)
    if path.suffix in {".onnx", *PICKLES}:
        if not path.is_file():
            raise ConfigError(f"{name}: there is no such file")
        if path.suffix == ".onnx":
            return "onnx", loaded_onnx(path), None
        return "pickle", loaded_pickle(path, trusted=opening.trust_pickle), None
    module, colon, function = name.partition(":")
    if colon and function and all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        return "function", loaded_function(name), None
    raise ConfigError(f"there is no model {name!r}; models are: {FORMS}")


def _said(says: Says, X: Array, name: str) -> Any:
    """Return what a model says of X as an array with an entry a row; raises `ModelError` with the row it cannot answer."""
    try:
        answers = says(X)
    except EndpointError:
        raise
    except Exception as error:
        raise _blamed(says, X, name, error) from error
    try:
        told = np.asarray(answers)
    except ValueError:  # rows of different lengths
        shapes = [_shape(row) for row in answers]
        odd = next((number for number, shape in enumerate(shapes) if shape != shapes[0]), 0)
        raise ModelError(f"{name} answered input {odd} in the shape {shapes[odd]}, input 0 in {shapes[0]}", row=odd) from None
    if told.ndim == 0 or len(told) != len(X):
        said = f"{len(told)} answers" if told.ndim else f"a {type(answers).__name__}"
        raise ModelError(f"{name} was asked about {len(X)} inputs and gave {said}")
    if told.ndim > 2:
        raise ModelError(f"{name} answered input 0 in the shape {told.shape[1:]}, not with a row of probabilities", row=0)
    if told.ndim == 2 and told.shape[1] == 1:
        told = told[:, 0]
    return told


def _shape(row: Any) -> tuple[int, ...] | str:
    try:
        found: tuple[int, ...] = np.shape(row)
    except ValueError:
        return "of no table"
    return found


def _blamed(says: Says, X: Array, name: str, error: Exception) -> ModelError:
    """Return the error with the first row that raises it alone."""
    text = f"{type(error).__name__}: {error}"
    if len(X) == 1:
        return ModelError(f"{name} failed at input 0: {text}", row=0)
    for number, row in enumerate(X):
        try:
            says(row[None])
        except Exception as alone:  # noqa: BLE001  # a model of the reader's own
            return ModelError(f"{name} failed at input {number}: {type(alone).__name__}: {alone}", row=number)
    return ModelError(f"{name} failed at {len(X)} inputs together, and at none of them alone: {text}")


def _is_score(answers: Any) -> bool:
    return bool(answers.dtype.kind == "f" and np.all((answers >= 0.0) & (answers <= 1.0)) and np.any(answers % 1.0))


def _classes_of_labels(says: Says, sample: Array, classes: int | None, name: str) -> tuple[Any, ...]:
    if classes is not None:
        return tuple(range(classes))
    seen = sorted({_label(entry) for entry in _said(says, sample, name)}, key=lambda label: (isinstance(label, str), label))
    if len(seen) < 2:
        raise ConfigError(f"{name} tells labels only ({seen[0]!r}): say how many classes there are with --classes")
    numbers = [label for label in seen if isinstance(label, int)]
    if len(numbers) == len(seen) and numbers[0] >= 0:
        return tuple(range(numbers[-1] + 1))
    return tuple(seen)


def _label(entry: Any) -> int | str:
    value = entry.item() if isinstance(entry, np.generic) else entry
    return int(value) if isinstance(value, int) or (isinstance(value, float) and value.is_integer()) else str(value)


def _places(answers: Any, order: Mapping[Any, int], name: str) -> Any:
    places = np.empty(len(answers), dtype=np.int64)
    for number, entry in enumerate(answers):
        label = _label(entry)
        place = order.get(label, order.get(str(label)))
        if place is None:
            known = ", ".join(map(str, list(order)[:20]))
            raise ModelError(f"{name} answered input {number} with the label {label!r}; known are: {known}", row=number)
        places[number] = place
    return places


def _asker(says: Callable[[Array], Any], name: str, classes: int) -> Callable[[Array], Array]:
    """Return a function that checks each row of probabilities."""

    def predict(X: Array) -> Array:
        try:
            answers = np.asarray(says(X), dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{name} answered with something that is no table of numbers: {error}") from error
        if answers.shape != (len(X), classes):
            raise ModelError(f"{name} answered {len(X)} inputs in the shape {answers.shape}, not {(len(X), classes)}", row=0)
        sound = np.isfinite(answers).all(axis=1) & (answers >= -1e-6).all(axis=1)
        sound &= np.abs(answers.sum(axis=1) - 1.0) <= max(SLACK, 2e-4 * classes)  # a logged probability is at least 0.0001
        if not sound.all():
            row = int(np.argmin(sound))
            told = np.array2string(answers[row], precision=4, threshold=6)
            raise ModelError(f"{name} answered input {row} with {told}, which are no probabilities that sum to 1", row=row)
        return np.maximum(answers, 0.0)

    return predict
