"""The columns that were searched: one or two by hand are little evidence, and columns without coordinates are told apart."""

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.bisect import RECORD_WEIGHTS
from detector.engine.evidence.bracket import Bracket
from detector.engine.evidence.halved import (
    BACK,
    BESIDE,
    BY_HAND,
    HIDDEN,
    LED_WEIGHTS,
    MOST_ALONE,
    SECOND,
    THIRD,
    WALKED,
    bits_of,
    halving_weight,
    other_columns,
    weight_within_label,
)

COORDINATES = 24
NUMBERS = 16


def weights(
    halved: npt.NDArray[np.uint32],
    alone: npt.NDArray[np.uint8],
    column: int,
    depths: tuple[int, ...],
    *,
    led: bool = False,
) -> list[float]:
    """Return the weights of halvings of a column, between two labels, in a bracket to which a way may have led."""
    return [halving_weight(depth, 1 << column, True, led, halved, alone, 0) for depth in depths]


def test_a_column_halved_alone_is_little_evidence_until_there_are_others() -> None:
    """A person halves one column or two, by hand; a thief halves a third, and then each halving counts early."""
    halved, alone = np.zeros(1, np.uint32), np.zeros(1, np.uint8)
    found = weights(halved, alone, 2, (1, 2, 3, 4, 5, 6, 3, 4, 5))
    assert found == [0.0, 0.0, RECORD_WEIGHTS[3], RECORD_WEIGHTS[4], *[0.0] * 5]
    assert alone.tolist() == [MOST_ALONE]
    assert weights(halved, alone, 5, (1, 2, 3, 4, 5, BY_HAND)) == [0.0, 0.0, RECORD_WEIGHTS[3], 0.0, 0.0, 0.0]
    assert weights(halved, alone, 5, (BY_HAND + 1,)) == [1.0]
    assert weights(halved, alone, HIDDEN, (1, 2, 3, 4)) == BESIDE[1:5].tolist()
    assert weights(halved, alone, 2, (4,)) == [1.0]
    assert halving_weight(3, 1 << 2, False, False, halved, alone, 0) == RECORD_WEIGHTS[3]


def test_a_client_that_went_through_columns_has_searched_them() -> None:
    """The second column that it halves is the third one; the first counts as that of an explainer."""
    halved, alone = np.array([WALKED], np.uint32), np.zeros(1, np.uint8)
    assert weights(halved, alone, 2, (1, 2, 3, 4, 5, 6, 7, 8)) == [0.0, 0.0, RECORD_WEIGHTS[3], RECORD_WEIGHTS[4], *[0.0] * 4]
    assert weights(halved, alone, 5, (1, 2, 3)) == BESIDE[1:4].tolist()


def test_halvings_of_the_step_that_a_way_led_to_count_from_the_first_on() -> None:
    """They leave the column known, and say nothing for those of the next one."""
    halved, alone = np.array([WALKED], np.uint32), np.zeros(1, np.uint8)
    assert weights(halved, alone, 2, (1, 2, 3, 4), led=True) == [LED_WEIGHTS[1], LED_WEIGHTS[2], LED_WEIGHTS[3], LED_WEIGHTS[3]]
    assert alone.tolist() == [0]
    assert weights(halved, alone, 5, (1, 2, 3)) == BESIDE[1:4].tolist()


def within_label(halved: npt.NDArray[np.uint32], alone: npt.NDArray[np.uint8], way: str) -> list[float]:
    """Return the weights of halvings of a column between leaves: down at depth 4 (d), or back to a bracket (b)."""
    found = []
    for turn in way:
        bracket = Bracket(2, 0, 1, 0.01, middle=True, close=True, chained=True, descends=turn == "d")
        found.append(weight_within_label(4, bracket, 1 << 2, True, halved, alone, 0))
    return found


def test_a_return_counts_after_a_descent() -> None:
    """Path finding goes down and back by turns; a curve that is refined from end to end only goes back."""
    deep = RECORD_WEIGHTS[4]
    assert within_label(np.zeros(1, np.uint32), np.zeros(1, np.uint8), "ddbbdbdd") == [
        deep,
        deep,
        BACK,
        0.0,
        deep,
        BACK,
        deep,
        deep,
    ]
    assert within_label(np.zeros(1, np.uint32), np.zeros(1, np.uint8), "bbbbbb") == [0.0] * 6


def bits(way: npt.NDArray[np.float64], halved: int) -> int:
    """Return the bits of a column without a coordinate of its own, two records of which differ by `way`."""
    z = np.zeros((COORDINATES, 2), np.int16)
    z[NUMBERS:, 1] = np.rint(way)
    return int(bits_of(NUMBERS, z, 0, 1, NUMBERS, np.int64(halved)))


def test_columns_without_a_coordinate_are_told_apart_by_direction() -> None:
    """The first, a second and any further one have a bit each, whichever way and however far they move."""
    rng = np.random.default_rng(1)
    told = 0
    for _ in range(200):
        first, second, third = rng.normal(size=(3, COORDINATES - NUMBERS)) * 500.0
        halved = bits(first, 0)
        assert halved & 1 << HIDDEN
        for share in (1.0, -0.5, 0.1, -0.05, 0.03):
            assert bits(share * first, halved) == 1 << HIDDEN
        halved |= bits(second, halved)
        if not halved >> SECOND & 1:
            continue
        assert bits(0.1 * second, halved) in {1 << SECOND, 1 << HIDDEN}
        halved |= bits(third, halved)
        assert other_columns(np.uint32(halved), 1) == 2 + (halved >> THIRD & 1)
        told += halved >> THIRD & 1
    assert told > 120


def test_short_moves_have_no_direction_that_counts() -> None:
    """Rounding would make columns of them."""
    halved = bits(np.array([100.0, 0, 0, 0, 0, 0, 0, 0]), 0)
    assert bits(np.array([0.0, 9, 0, 0, 0, 0, 0, 0]), halved) == 1 << HIDDEN
    assert bits(np.array([0.0, 9, 0, 0, 0, 0, 0, 0]), 0) == 0
