"""Real data for the table, from a folder of the reader's own: nothing is downloaded, and nothing ships with the project.

MNIST are the files of Y. LeCun, C. Cortes and C. Burges in the IDX format (images 28x28, labels); either half will do. Adult
is the census income table of the UCI repository, with or without its line of names. Both may be gzipped.
"""

import csv
import gzip
import struct
from pathlib import Path

import numpy as np

from detector.errors import SourceError
from detector.redteam.conversation import Array, Labels

IMAGES, LABELS = 2051, 2049
SIDE = 28
NUMERIC = (0, 2, 4, 10, 11, 12)
CODED = (1, 3, 5, 6, 7, 8, 9, 13)


def mnist(folder: Path) -> tuple[Array, Labels]:
    """Pictures (n, 196), halved to 14x14 by averaging, with values from 0 to 255, and their labels (n,).

    Test images are preferred to training images, as they are fewer. Raises `SourceError` if `folder` has no such files.
    """
    for half in ("t10k", "train"):
        images, labels = _beside(folder, f"*{half}-images*"), _beside(folder, f"*{half}-labels*")
        if images and labels:
            return _halved(_idx(images, IMAGES)), _idx(labels, LABELS).astype(np.int64)
    raise SourceError(f"{folder}: no MNIST here (t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or train-...)")


def adult(folder: Path) -> tuple[Array, Labels, tuple[int, ...]]:
    """Records (n, 14), whether the income is above 50,000 (n,) of 0 and 1, and the columns that hold codes.

    Codes are numbered from 0 in the order of their names; records with unknown values are left out. Raises `SourceError` if
    `folder` has no such file or it is of another form.
    """
    path = _beside(folder, "adult.csv*") or _beside(folder, "adult.data*")
    if path is None:
        raise SourceError(f"{folder}: no Adult here (adult.csv or adult.data)")
    rows = [[cell.strip() for cell in row] for row in csv.reader(_read(path).decode("utf-8").splitlines()) if row]
    if rows and not rows[0][0].isdecimal():
        rows = rows[1:]
    rows = [row for row in rows if "?" not in row]
    if not rows or any(len(row) != len(NUMERIC) + len(CODED) + 1 for row in rows):
        raise SourceError(f"{path}: fourteen columns and the income are expected")
    X = np.zeros((len(rows), len(NUMERIC) + len(CODED)))
    try:
        for place in NUMERIC:
            X[:, place] = [float(row[place]) for row in rows]
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
    for place in CODED:
        X[:, place] = np.unique([row[place] for row in rows], return_inverse=True)[1]
    return X, np.array([row[-1].startswith(">") for row in rows], dtype=np.int64), CODED


def _beside(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)


def _read(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def _idx(path: Path, magic: int) -> Array:
    data = _read(path)
    places = 3 if magic == IMAGES else 1
    head = struct.calcsize(f">{places + 1}I")
    if len(data) < head or struct.unpack(">I", data[:4])[0] != magic:
        raise SourceError(f"{path} is no IDX file of {'images' if magic == IMAGES else 'labels'}")
    shape = struct.unpack(f">{places}I", data[4:head])
    values = np.frombuffer(data, np.uint8, offset=head)
    if len(values) != int(np.prod(shape)):
        raise SourceError(f"{path} is cut off")
    return values.reshape(shape).astype(np.float64)


def _halved(images: Array) -> Array:
    if images.shape[1:] != (SIDE, SIDE):
        raise SourceError(f"images of {SIDE}x{SIDE} are expected, these are {images.shape[1]}x{images.shape[2]}")
    small = images.reshape(len(images), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    return np.asarray(small.reshape(len(images), -1))
