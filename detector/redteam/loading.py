"""Models that are not behind HTTP: functions of the reader's own, ONNX files, and pickles where they are trusted.

Each becomes a function from inputs (n, dimension) to what the model says of them: probabilities (n, classes), scores (n,), or
labels (n,).
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from detector.distribution import install
from detector.errors import ConfigError
from detector.redteam.conversation import Array

__all__ = ["PICKLES", "Says", "asked_in_process", "loaded_function", "loaded_onnx", "loaded_pickle"]

Says: TypeAlias = Callable[[Array], Any]
PICKLES: Final = (".pkl", ".pickle", ".joblib")
_TYPES: Final = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


def loaded_function(name: str) -> Says:
    """Return the model that ``module:function`` names, also one of the current folder.

    It is a function of X, or an estimator with ``predict_proba`` or ``predict``. Raises `ConfigError` where there is none. What
    the module itself raises when it is imported is told, too.
    """
    module, _, attribute = name.partition(":")
    here = os.getcwd()  # noqa: PTH109  # a text, as the path of modules has
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{name}: cannot import {module}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name}: {module} fails when it is imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{name}: there is no {part!r} in {module}")
        found = getattr(found, part)
    return asked_in_process(found, name)


def asked_in_process(model: Any, name: str) -> Says:
    """Return an estimator's ``predict_proba``, else its ``predict``, else the function itself; raises `ConfigError`."""
    for method in ("predict_proba", "predict"):
        says: Any = getattr(model, method, None)
        if callable(says) and not isinstance(model, type):
            return partial(_asked, says)
    if callable(model) and not isinstance(model, type):
        return partial(_asked, model)
    raise ConfigError(f"{name}: neither a function of inputs nor a model with predict_proba or predict")


def _asked(says: Says, X: Array) -> Any:
    """Ask about a copy: a model that scales its inputs in place changes nobody else's.

    What it prints goes to standard error, which no script reads. One that ends the program fails instead, or a gate would pass;
    a process that it forks and that comes back ends here.
    """
    own = os.getpid()
    try:
        with redirect_stdout(sys.stderr):
            return says(X.copy())
    except SystemExit as error:
        raise RuntimeError(f"it called sys.exit({error.code!r})") from error
    finally:
        if os.getpid() != own:
            os._exit(1)


def loaded_pickle(path: Path, *, trusted: bool) -> Says:
    """Return the model in a pickle; raises `ConfigError` unless it is trusted, since whoever wrote it runs code here."""
    if not trusted:
        raise ConfigError(f"{path}: a pickle runs the code of whoever wrote it: --trust-pickle if that is you, or give ONNX")
    import joblib  # noqa: PLC0415  # comes with scikit-learn

    try:
        with redirect_stdout(sys.stderr):
            model = joblib.load(path)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
    return asked_in_process(model, str(path))


def loaded_onnx(path: Path) -> Says:
    """Return the model in an ONNX file, with one input of numbers; raises `ConfigError`, also where onnxruntime lacks.

    Its output of probabilities is taken, a tensor or the maps that scikit-learn's converter makes, else that of labels.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigError(f"{path}: a model in ONNX needs onnxruntime: {install('onnx')}") from None
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # so that the same input has the same answer
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"{path}: is no ONNX model that onnxruntime can run: {str(error)[:300]}") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        kinds = ", ".join(f"{one.name} {one.type}" for one in inputs)
        raise ConfigError(f"{path}: a model with one input of numbers is needed; there is: {kinds}")
    (wanted,) = inputs
    names = [one.name for one in session.get_outputs()]
    kind, inner = _TYPES[wanted.type], [size if isinstance(size, int) else -1 for size in wanted.shape[1:]]
    single = isinstance(wanted.shape[0], int) and wanted.shape[0] == 1

    def says(X: Array) -> Any:
        if single and len(X) != 1:
            return np.concatenate([_told(says(row[None])) for row in X])
        shaped = X.astype(kind).reshape(len(X), *inner) if len(inner) > 1 else X.astype(kind)
        return _probabilities(session.run(names, {wanted.name: shaped}))

    return says


def _told(answer: Any) -> Any:
    return np.asarray(answer)


def _probabilities(outputs: list[Any]) -> Any:
    for one in outputs:
        if isinstance(one, list) and one and isinstance(one[0], dict):
            return np.array([[row[key] for key in sorted(row)] for row in one], dtype=np.float64)
    tables = [one for one in outputs if isinstance(one, np.ndarray) and one.dtype.kind == "f"]
    wide = [one for one in tables if one.ndim == 2 and one.shape[1] > 1]
    labels = [one for one in outputs if isinstance(one, np.ndarray) and one.dtype.kind in "iuUSO"]
    return [*wide, *labels, *tables, *outputs][0]
