import numpy as np
import pytest

from detector.errors import ConfigError
from detector.redteam.accounts import SPLITS
from tests.quality.campaigns.dealt import dealt, thefts
from tests.quality.simulation import simulated

TARGET = simulated("digits_8bit", "mlp", 1).thieves
LINE, JBDA = thefts(["line_search", "jbda"], TARGET, 0.5, 120, 1)


def test_thieves_share_no_example() -> None:
    """Each holds pictures of his own, half of what each asks is cover, and the same seed asks the same."""
    held = [{row.tobytes() for row in theft.pool.vectors} for theft in (LINE, JBDA)]
    assert held[0]
    assert not held[0] & held[1]
    assert all(40 <= int(theft.cover.sum()) <= 80 for theft in (LINE, JBDA))
    again = thefts(["line_search", "jbda"], TARGET, 0.5, 120, 1)
    assert np.array_equal(again[0].vectors, LINE.vectors)
    with pytest.raises(ConfigError, match="takes tabular data"):
        thefts(["path_finding"], TARGET, 0.0, 10, 1)


@pytest.mark.parametrize("split", SPLITS)
def test_a_theft_is_dealt_over_half_a_day(split: str) -> None:
    """All of it arrives, in its order, at moments between a tenth of a day and six; the truth goes with it."""
    found = dealt(LINE, TARGET, 8, split, 3, organization="acme")
    assert len(found) == len(LINE.vectors) == 120
    assert np.allclose(found.vectors, LINE.vectors, atol=1e-5)
    assert np.array_equal(found.made, LINE.made)
    assert (found.moments >= 0.1).all()
    assert (found.moments <= 0.6).all()
    assert (found.account < 8).all()
    assert {(one.role, one.organization, one.campaign) for one in found.accounts} == {("line_search", "acme", "line_search")}
