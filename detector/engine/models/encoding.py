"""Encoding compiled: what `reference.encode` does, without the price of a dozen calls of numpy for a single query."""

import numpy as np

from detector.engine.kernels import kernel

FARTHEST = np.float32(1e6)  # value ranges; squares of more could overflow
INDICATOR = np.float32(np.sqrt(0.5))


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
