"""Defences by name: what a client is told instead of the model's own answers.

======================  ================================================================================================
``none``                the model's own answers
``top1``, ``label``     modes of `detector.perturb`; ``top1(decimals=2)``
``mislead``             likewise: half of the coarse answers name a wrong label
``rounding``            probabilities to two decimals; ``rounding(decimals=1)``
``art:NAME``            of the Adversarial Robustness Toolbox, ``art:ReverseSigmoid(gamma=0.2)``
======================  ================================================================================================
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detector.errors import ConfigError
from detector.perturb.modes import How, perturb
from detector.redteam.conversation import Array, Predict
from detector.redteam.targets import Target

__all__ = ["DEFENCES", "Defence", "defence_of", "memoised", "parts_of", "sound", "split_names"]

DEFENCES: Final = "none, top1, label, mislead, rounding, art:NAME"
_KEY: Final = b"a key of the bench, not a secret"
_CALL: Final = re.compile(r"^(?P<name>[\w:.-]+)(?:\((?P<inside>.*)\))?$")


@dataclass(frozen=True, slots=True)
class Defence:
    """A defence: `over` wraps the predict function of a model, `hint` says what to do where it changes no answer."""

    name: str
    over: Callable[[Predict, Target], Predict]
    hint: str = ""


def defence_of(text: str) -> Defence:
    """Return a defence by its name, with parameters in brackets; raises `ConfigError`.

    >>> from detector.redteam.targets import named
    >>> iris = named("tree:iris")
    >>> defence_of("label").over(iris.predict, iris)(iris.test[:1]).tolist()
    [[0.0, 1.0, 0.0]]
    """
    name, options = parts_of(text)
    if name.startswith("art:"):
        from detector.hardening.toolbox import toolbox_defence  # noqa: PLC0415  # an extra

        return toolbox_defence(text, name.removeprefix("art:"), options)
    if name == "none" and not options:
        return Defence(text, lambda predict, _: predict)
    decimals = options.pop("decimals", 2 if name == "rounding" else 1)
    if type(decimals) is not int or not 0 <= decimals <= 9:
        raise ConfigError(f"{text}: decimals are 0 to 9")
    if options:
        raise ConfigError(f"{text}: there is no parameter {next(iter(options))!r}")
    if name == "rounding":
        return Defence(text, lambda predict, _: lambda X: np.round(predict(X), decimals))
    if name in {"top1", "label", "mislead"}:
        how = How(name, decimals, _KEY if name == "mislead" else None)  # type: ignore[arg-type]  # just looked up
        return Defence(text, lambda predict, target: lambda X: _perturbed(predict(X), how, target.id))
    raise ConfigError(f"there is no defence {text!r}; there are: {DEFENCES}")


def _perturbed(answers: Array, how: How, model: str) -> Array:
    return np.array([perturb(row, how, model) for row in answers.tolist()]).reshape(answers.shape)


def split_names(text: str) -> list[str]:
    """Split a list at the commas that are not in brackets.

    >>> split_names("none, art:FeatureSqueezing(bit_depth=4,apply_predict=True),label")
    ['none', 'art:FeatureSqueezing(bit_depth=4,apply_predict=True)', 'label']
    """
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def parts_of(text: str) -> tuple[str, dict[str, Any]]:
    """Return a name and the parameters in its brackets; raises `ConfigError`.

    >>> parts_of("top1(decimals=2)")
    ('top1', {'decimals': 2})
    """
    found = _CALL.match(text)
    if found is None:
        raise ConfigError(f"{text!r} is no name, and no name with parameters as in top1(decimals=2)")
    inside = found["inside"]
    options: dict[str, Any] = {}
    for part in re.split(r",(?![^(]*\))", inside) if inside else ():
        name, equals, value = part.partition("=")
        try:
            options[name.strip()] = ast.literal_eval({"true": "True", "false": "False"}.get(value.strip(), value.strip()))
        except (ValueError, SyntaxError):
            equals = ""
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"{text}: parameters are NAME=NUMBER, not {part.strip()!r}")
    return found["name"], options


def sound(answers: Array) -> Array:
    """Return answers whose rows can be probabilities: a defence may leave negative ones in a row, or nothing of it at all."""
    positive = np.clip(np.nan_to_num(answers), 0.0, None)
    empty = positive.sum(axis=1, keepdims=True) <= 0.0
    return np.where(empty, 1.0 / answers.shape[1], positive)


def memoised(predict: Predict) -> Predict:
    """Return a model that answers the same input the same, so that what changes is the work of a defence."""
    known: dict[bytes, Array] = {}

    def answer(X: Array) -> Array:
        keys = [row.tobytes() for row in X]
        fresh = {key: number for number, key in enumerate(keys) if key not in known}
        if fresh:
            told = predict(X[list(fresh.values())])
            known.update(zip(fresh, told, strict=True))
        return np.stack([known[key] for key in keys])

    return answer
