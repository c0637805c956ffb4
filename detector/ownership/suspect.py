"""Asking a suspect: in small parts, each answer kept in a file, so that a test that was cut off goes on where it was.

A suspect may be slow, limit the rate, or go away; a question that it has answered is never asked again.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from detector import private
from detector.errors import ConfigError, ModelError, OutputError, OwnershipError

__all__ = ["PART", "ask"]

PART: Final = 32  # inputs that are asked about at once

_Array = npt.NDArray[np.float64]


def ask(
    X: npt.NDArray[np.float32],
    predict: Callable[[_Array], _Array],
    identity: str,
    kept: Path,
    note: Callable[[int], None] | None = None,
) -> _Array:
    """Return the answers (n, classes) of a suspect to inputs (n, d); what is in the file `kept` is not asked again.

    Raises `OwnershipError` where the suspect fails, `ConfigError` where the file is about another one, `OutputError`.
    """
    known = _kept(kept, identity)
    digests = [hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in X]
    missing = [at for at, digest in enumerate(digests) if digest not in known]
    try:
        private.make_folder(kept.parent)
        with private.append(kept) as file:
            if _is_torn(kept):
                file.write(b"\n")
            if not known:
                file.write(json.dumps({"suspect": identity}).encode() + b"\n")
            for start in range(0, len(missing), PART):
                part = missing[start : start + PART]
                answers = predict(X[part].astype(np.float64))
                for at, answer in zip(part, answers.tolist(), strict=True):
                    known[digests[at]] = answer
                    file.write(json.dumps({"input": digests[at], "answer": answer}).encode() + b"\n")
                file.flush()
                if note is not None:
                    note(len(known))
    except ModelError as error:
        done = sum(digest in known for digest in digests)
        raise OwnershipError(
            f"{error}\n{done} of {len(X)} inputs are answered, and kept in {kept}: the same command goes on from there"
        ) from error
    except OSError as error:
        raise OutputError(f"{kept}: cannot write the answers: {error.strerror or error}") from error
    found = [known[digest] for digest in digests]
    if len({len(row) for row in found}) > 1:
        raise OwnershipError(f"{identity} answers with different numbers of classes")
    return np.array(found, np.float64)


def _is_torn(path: Path) -> bool:
    """Tell whether the last line was cut off, so that the next one must not go on behind it."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        return file.read(1) not in {b"", b"\n"}


def _kept(path: Path, identity: str) -> dict[str, list[float]]:
    known: dict[str, list[float]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return known
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the answers of before: {error.strerror or error}") from error
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
            if number == 0:
                if entry["suspect"] != identity:
                    raise ConfigError(f"{path}: holds the answers of {entry['suspect']}: name another folder with --out")
            else:
                answer = [float(value) for value in entry["answer"]]
                if all(map(math.isfinite, answer)):
                    known[entry["input"]] = answer
        except (ValueError, KeyError, TypeError):  # cut off by a crash: asked again
            continue
    return known
