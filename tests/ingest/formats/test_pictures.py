"""Pictures as inputs: rasters of arrays and of files, and files that are refused."""

import base64
import io

import numpy as np
import pytest

from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.inputs import Inputs
from detector.ingest.formats.pictures import SIDE, file_vector, reduced

Image = pytest.importorskip("PIL.Image")


def _file(kind: str = "PNG", size: tuple[int, int] = (40, 24)) -> bytes:
    pixels = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0]).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_becomes_a_raster_however_it_is_written(kind: str) -> None:
    content = _b64(_file(kind))
    vector = file_vector(content)
    assert len(vector) == SIDE * SIDE
    assert vector[0] < 0.1
    assert vector[-1] > 0.9
    inputs = Inputs({})
    for instance in ({"b64": content}, {"image_bytes": {"b64": content}}, f"data:image/png;base64,{content}"):
        assert inputs.vector("m", instance) == vector


def test_a_small_file_is_stretched() -> None:
    assert len(file_vector(_b64(_file(size=(3, 5))))) == SIDE * SIDE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_file()[:-30], "schema"),
        (_file("JPEG")[:200], "schema"),
        (b"", "schema"),
        (b"GIF89a" + bytes(50), "schema"),
        (_file("GIF"), "schema"),
    ],
)
def test_damaged_and_other_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableError) as caught:
        file_vector(_b64(data))
    assert caught.value.reason == reason


def test_a_small_file_of_many_pixels_is_refused_before_it_is_unpacked() -> None:
    target = io.BytesIO()
    Image.new("1", (8000, 8000)).save(target, "PNG")
    with pytest.raises(UnusableError, match="8000 x 8000") as caught:
        file_vector(_b64(target.getvalue()))
    assert caught.value.reason == "oversized"


def test_text_that_is_not_base64_is_refused() -> None:
    with pytest.raises(UnusableError) as caught:
        file_vector("?")
    assert caught.value.reason == "encoding"


def test_large_arrays_are_reduced_by_block_means_and_small_ones_are_kept() -> None:
    pixels = np.arange(64 * 96, dtype=np.uint8).reshape(64, 96)
    expected = pixels.reshape(16, 4, 16, 6).mean(axis=(1, 3)).ravel().tolist()
    assert reduced(pixels.tolist()) == pytest.approx(expected)
    assert reduced(np.repeat(pixels[:, :, None], 3, axis=2)) == pytest.approx(expected)
    assert reduced(np.repeat(pixels[None], 3, axis=0).tolist()) == pytest.approx(expected)
    assert reduced(np.ones((28, 28, 3))) is None
    assert reduced([[1.0] * 5000, [1.0]]) is None
    assert Inputs({}).vector("m", pixels.tolist()) == pytest.approx(expected)
    assert len(Inputs({}).vector("m", np.ones((28, 28)).tolist())) == 784


def test_long_texts_in_nested_lists_take_no_memory() -> None:
    """An array of texts is as wide as the longest in all of its places: 25 GB here."""
    assert reduced([[["a" * 100_000], *[["b"]] * 60_000]]) is None
    assert reduced([[None, 1.0]] * 5000) is None
