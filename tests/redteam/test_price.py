import pytest

from detector.redteam.design_aware import EVASIONS
from detector.redteam.price import Price, prices
from detector.redteam.targets import named


def test_hiding_is_priced_against_the_plain_attack() -> None:
    """Same queries, same copies of the plain attack and of natural examples; accounts are told, and each evasion announced."""
    target = named("tree:iris").over()
    told: list[str] = []
    chosen = [EVASIONS[name] for name in ("memory_flush", "pair_an_account")]
    flushed, shared = prices(chosen, target, 40, 1, 0, told.append)
    assert told == ["memory_flush", "pair_an_account"]
    assert flushed.plain == shared.plain
    assert flushed.natural == shared.natural
    assert flushed.made < shared.made
    assert shared.accounts == 50
    assert shared.price == pytest.approx(0.0)


def test_a_price_is_what_the_copy_is_worse() -> None:
    """Positive where hiding costs, negative where it pays."""
    assert Price("x", 100, 50.0, 1, 0.9, 0.8, 0.6).price == pytest.approx(0.2)
    assert Price("x", 100, 50.0, 1, 0.9, 0.6, 0.8).price == pytest.approx(-0.2)
