import pytest

from detector.redteam.design_aware import EVASIONS, Evasion, evasions_of
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.sessions import Disguise
from detector.redteam.setting import Data


@pytest.mark.parametrize("one", EVASIONS.values(), ids=lambda one: one.id)
def test_an_evasion_is_an_attack_or_a_disguise_beside_a_plain_one(one: Evasion) -> None:
    """Its attacks exist, it differs from the plain one, some data take it, and it says what it is aimed at."""
    assert EVASIONS[one.id] is one
    assert one.attack in ATTACKS
    assert one.plain in ATTACKS
    assert (one.attack, one.disguise) != (one.plain, Disguise())
    assert one.data
    assert one.title
    assert one.against
    assert one.id == one.attack or one.id not in ATTACKS.keys() | PROFILES.keys()


@pytest.mark.parametrize("data", ["image", "tabular", "text"])
def test_every_kind_of_data_has_thieves_who_know_the_design(data: Data) -> None:
    """The memory, counts of halvings, exact halves and foreign data are evaded on each."""
    against = {one.against for one in evasions_of(data).values()}
    assert against >= {"the memory of recent queries", "counts of halvings", "exact halves", "foreign data"}


def test_published_ids_stay() -> None:
    """Ids that stand in tables: one may be added here, none taken away."""
    assert EVASIONS.keys() >= {
        *("weaving", "weaving_columns", "shallow", "shallow_columns", "jitter", "arcsine_cuts", "heavy_tails", "pixel_shifts"),
        *("toned_shifts", "smooth_steps", "block_steps", "jpeg_steps", "augmentations", "memory_flush", "memory_flush_steps"),
        *("copula", "smote", "cut_mix", "three_points", "pair_an_account"),
    }
