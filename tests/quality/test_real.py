import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from detector.errors import SourceError
from tests.quality import real

ROW = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, Cuba, <=50K"
OTHER = "50, Private, 83311, HS-grad, 9, Divorced, Sales, Husband, Black, Female, 0, 0, 13, Peru, >50K."


def _idx(path: Path, values: np.typing.NDArray[np.uint8]) -> None:
    head = struct.pack(f">{values.ndim + 1}I", 2051 if values.ndim == 3 else 2049, *values.shape)
    data = head + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_pictures_are_halved(tmp_path: Path, end: str) -> None:
    """Four pixels become their mean, whether the files are packed or not."""
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    _idx(tmp_path / f"t10k-images-idx3-ubyte{end}", images)
    _idx(tmp_path / f"t10k-labels-idx1-ubyte{end}", np.array([7, 1, 2], np.uint8))
    X, y = real.mnist(tmp_path)
    assert X.shape == (3, 196)
    assert X[1, 15] == images[1, 2:4, 2:4].mean()
    assert y.tolist() == [7, 1, 2]


def test_broken_pictures_are_refused(tmp_path: Path) -> None:
    """Missing files, other files, cut files and broken archives are named."""
    with pytest.raises(SourceError, match="no MNIST here"):
        real.mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    images = tmp_path / "train-images-idx3-ubyte"
    _idx(labels, np.array([1], np.uint8))
    _idx(images, np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(SourceError, match="images of 28x28 are expected, these are 8x8"):
        real.mnist(tmp_path)
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(SourceError, match="cut off"):
        real.mnist(tmp_path)
    images.write_bytes(b"not an IDX file at all")
    with pytest.raises(SourceError, match="no IDX file of images"):
        real.mnist(tmp_path)
    images.unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(SourceError, match="cannot read"):
        real.mnist(tmp_path)


def test_records_become_numbers_and_codes(tmp_path: Path) -> None:
    """Codes are numbered by name, unknown values are left out, and the income is told with or without a full stop."""
    (tmp_path / "adult.csv").write_text(f"age,workclass\n{ROW}\n{OTHER}\n{ROW.replace('Cuba', '?')}\n\n", encoding="utf-8")
    X, y, coded = real.adult(tmp_path)
    assert X[:, 0].tolist() == [39.0, 50.0]
    assert X[:, 1].tolist() == [1.0, 0.0]
    assert y.tolist() == [0, 1]
    assert coded == (1, 3, 5, 6, 7, 8, 9, 13)


def test_a_file_without_names_is_read_as_well(tmp_path: Path) -> None:
    """The repository's own file has no line of names."""
    (tmp_path / "adult.data.gz").write_bytes(gzip.compress(f"{ROW}\n".encode()))
    assert real.adult(tmp_path)[0].shape == (1, 14)


@pytest.mark.parametrize(
    ("content", "said"),
    [("1,2,3\n", "fourteen columns"), ("", "fourteen columns"), (ROW.replace("13", "x"), "could not convert")],
)
def test_broken_records_are_refused(tmp_path: Path, content: str, said: str) -> None:
    """A table of another form is refused, with its name."""
    (tmp_path / "adult.data").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=said):
        real.adult(tmp_path)


def test_missing_records_are_named(tmp_path: Path) -> None:
    """A folder without the table says what it should be called."""
    with pytest.raises(SourceError, match=r"adult\.csv or adult\.data"):
        real.adult(tmp_path)
