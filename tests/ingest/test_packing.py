"""Packed numbers and cached texts of events."""

import numpy as np

from detector.ingest.packing import Packers, label_code, top_two


def test_label_codes_differ() -> None:
    """Codes of the labels that models have are distinct and fit in 32 signed bits."""
    codes = [label_code(i) for i in range(5000)] + [label_code(name) for name in ("", "cat", "Cat", "\ud800")]
    assert len(set(codes)) == len(codes)
    assert all(-(2**31) <= code < 2**31 for code in codes)


def test_packers_are_bounded() -> None:
    """Lengths that never repeat do not make them grow."""
    packers = Packers("f")
    for length in range(1, 600):
        assert len(packers[length](*range(length))) == 4 * length
    assert len(packers) <= 1 << 8


def test_two_largest_probabilities() -> None:
    """One number is the probability of the first of two classes; none leaves both unknown."""
    rows = [np.array(row, np.float64).tobytes() for row in ([0.2, 0.5, 0.3], [0.25], [])]
    top, largest, second = top_two(rows)
    assert top.tolist() == [1, 1, 0]
    np.testing.assert_allclose(largest, [0.5, 0.75, np.nan])
    np.testing.assert_allclose(second, [0.3, 0.25, np.nan])
