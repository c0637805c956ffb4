"""Encoding: inputs with scaled columns, and indicators in place of categories; compiled, for the sake of single queries."""

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

FARTHEST = np.float32(1e6)  # value ranges; squares of more could overflow
INDICATOR = np.float32(np.sqrt(0.5))

Floats = npt.NDArray[np.float32]


def encode(vectors: Floats, offset: Floats, scale: Floats, categorical: npt.NDArray[np.int32], categories: Floats) -> Floats:
    """Scale the columns and replace categorical ones by indicators; an unknown category sets no indicator."""
    encoded = np.empty((len(vectors), vectors.shape[1] + categories.size), np.float32)
    encode_rows(np.ascontiguousarray(vectors, np.float32), offset, scale, categorical, categories, encoded)
    return encoded


@kernel
def encode_rows(vectors, offset, scale, categorical, categories, encoded):
    """Write the scaled columns and the indicators of `vectors` (n, dimension) into `encoded` (n, encoded columns).

    Categorical columns are 0 among the scaled ones; each of their known codes has an indicator behind them.
    """
    dimension = vectors.shape[1]
    codes = categories.shape[1]
    for i in range(vectors.shape[0]):
        for d in range(dimension):
            value = (vectors[i, d] - offset[d]) * scale[d]
            if value > FARTHEST:
                value = FARTHEST
            elif value < -FARTHEST:
                value = -FARTHEST
            encoded[i, d] = value
        for j in range(categorical.shape[0]):
            value = vectors[i, categorical[j]]
            encoded[i, categorical[j]] = np.float32(0.0)
            for k in range(codes):
                known = value == categories[j, k]
                encoded[i, dimension + j * codes + k] = INDICATOR if known else np.float32(0.0)
