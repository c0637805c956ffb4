"""Made-up pictures, and what a JPEG leaves of them, for tests of what is told of such pictures."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

SIDE = 20
Floats = npt.NDArray[np.float32]


def scenes(seed: int, n: int = 600, side: int = SIDE) -> Floats:
    """Return smooth pictures (n, side * side) of grey levels, no two alike, with a texture on each."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(n, side, side)) / (1.0 + np.add.outer(np.arange(side), np.arange(side))) ** 1.2
    places = np.cos(np.pi * np.outer(np.arange(side) + 0.5, np.arange(side)) / side)
    pictures = places @ waves @ places.T
    pictures *= 25.0 / pictures.std(axis=(1, 2), keepdims=True)
    mean = rng.uniform(90.0, 160.0, (n, 1, 1))
    return np.rint(np.clip(pictures + mean, 0.0, 255.0)).reshape(n, -1).astype(np.float32)


def compressed(pictures: Floats, quality: int) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return pictures of grey levels as a JPEG leaves them, and its table of steps (8, 8)."""
    side = round(pictures.shape[1] ** 0.5)
    arrived = []
    table: list[int] = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture.reshape(side, side).astype(np.uint8)).save(file, "JPEG", quality=quality)
        with Image.open(file) as read:
            assert isinstance(read, JpegImageFile)
            table = read.quantization[0]
            arrived.append(np.asarray(read.convert("L"), np.float32).ravel())
    return np.stack(arrived), np.array(table, np.float64).reshape(8, 8)
