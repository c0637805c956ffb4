"""Defences of the Adversarial Robustness Toolbox (extra ``art``), as its own classifier applies them.

Preprocessors: GaussianAugmentation, FeatureSqueezing, SpatialSmoothing (square pictures). Postprocessors: ReverseSigmoid,
Rounded, HighConfidence, ClassLabels, GaussianNoise. Parameters have the toolbox's defaults, but for ``clip_values``, which is
the range of the examples. A preprocessor with ``apply_predict=False`` works during training only, and here not at all: that is
the default of GaussianAugmentation.
"""

import warnings
from importlib import import_module
from typing import Any, Final

import numpy as np

from detector.distribution import install
from detector.errors import ConfigError
from detector.hardening.defences import Defence, sound
from detector.redteam.conversation import Array, Predict
from detector.redteam.pictures import side_of
from detector.redteam.targets import Target

__all__ = ["POST", "PRE", "toolbox_defence"]

PRE: Final = ("GaussianAugmentation", "FeatureSqueezing", "SpatialSmoothing")
POST: Final = ("ReverseSigmoid", "Rounded", "HighConfidence", "ClassLabels", "GaussianNoise")
AT_TRAINING: Final = (
    "it works during training only, since apply_predict is False: try art:{name}(apply_predict=True), "
    "with augmentation=False for GaussianAugmentation"
)


def toolbox_defence(text: str, name: str, options: dict[str, Any]) -> Defence:
    """Return one of the toolbox's defences; raises `ConfigError`, also where the toolbox is not installed."""
    if name not in {*PRE, *POST}:
        raise ConfigError(f"there is no defence {text!r}; of the toolbox there are: {', '.join((*PRE, *POST))}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = import_module(f"art.defences.{'preprocessor' if name in PRE else 'postprocessor'}")
            black_box = import_module("art.estimators.classification").BlackBoxClassifier
    except ImportError:
        raise ConfigError(f"{text} needs the adversarial-robustness-toolbox: {install('art')}") from None
    make = getattr(package, name)

    def over(predict: Predict, target: Target) -> Predict:
        dimension = target.test.shape[1]
        shape: tuple[int, ...] = (dimension,)
        given = dict(options)
        if name in {"FeatureSqueezing", "SpatialSmoothing"}:
            given.setdefault("clip_values", target.value_range)
        if name == "SpatialSmoothing":
            if target.data != "image":
                raise ConfigError(f"{text} smooths pictures, not records")
            try:
                side = side_of(dimension)
            except ValueError as error:
                raise ConfigError(f"{text}: {error}") from error
            shape = (side, side, 1)
        try:
            made = make(**given)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{text}: {error}") from error
        defences = {"preprocessing_defences" if name in PRE else "postprocessing_defences": made}

        def flat(X: Array) -> Array:
            return predict(np.asarray(X, dtype=np.float64).reshape(len(X), dimension))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guarded = black_box(flat, shape, target.classes, preprocessing=None, **defences)

        def told(X: Array) -> Array:
            with np.errstate(all="ignore"):  # ReverseSigmoid takes the logarithm of 0
                answers = guarded.predict(X.reshape(len(X), *shape).copy())
            return sound(np.asarray(answers, dtype=np.float64))

        return told

    hint = AT_TRAINING.format(name=name) if name in PRE else ""
    return Defence(text, over, hint)
