"""Promises that every innocent profile keeps, whatever its habit."""

from collections.abc import Sequence

import numpy as np
import pytest

from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.frozen_profiles import FROZEN
from detector.redteam.known_profiles import KNOWN
from detector.redteam.later_profiles import LATER
from detector.redteam.loans import Lender
from detector.redteam.profiles import Profile
from detector.redteam.victim import Victim

ALL = (*KNOWN, *FROZEN, *LATER)
PICTURES = [profile for profile in ALL if profile.data == "image"]
RECORDS = [profile for profile in ALL if profile.data == "tabular"]
CHANGING_UNITS = {"tab_unit_change", "tab_trend"}


def _named(profiles: Sequence[Profile]) -> list[str]:
    return [profile.id for profile in profiles]


def _begin(profile: Profile, victim: Victim, applied: Lender, seed: int) -> Conversation:
    rng = np.random.default_rng(seed)
    if profile.data == "image":
        return profile.make(victim.benign.vectors, victim.benign.labels, rng, victim.value_range)
    return profile.make(applied.benign.vectors, applied.benign.labels, rng, applied.columns)


def _play(profile: Profile, victim: Victim, applied: Lender, seed: int, budget: int) -> Array:
    predict = victim.predict if profile.data == "image" else applied.predict
    return converse(_begin(profile, victim, applied, seed), predict, budget)[0]


def test_tiers_are_told_apart() -> None:
    """Ids are unique, the tier of each list is its own, and both kinds of data have profiles of every tier."""
    assert len({profile.id for profile in ALL}) == len(ALL)
    assert {profile.tier for profile in KNOWN} == {"known"}
    assert {profile.tier for profile in FROZEN} == {"frozen"}
    assert {profile.tier for profile in LATER} == {"later"}
    for profiles in (KNOWN, FROZEN, LATER):
        assert {profile.data for profile in profiles} == {"image", "tabular"}
    assert all(profile.id.startswith("tab_") == (profile.data == "tabular") for profile in ALL)


def test_published_ids_stay() -> None:
    """Ids that stand in tables and logs: one may be added here, none changed or taken away."""
    assert set(_named(KNOWN)) >= {
        *("steady", "bursty", "skewed", "video", "retries", "noisy_sensor", "drifting", "nightly", "ab_shadow", "load_test"),
        *("sliders", "shuffled_sliders", "augmentation", "blur", "gain", "hard_cases", "health_checks"),
        *("tab_steady", "tab_bursty", "tab_skewed", "tab_retries", "tab_what_if", "tab_nightly", "tab_ab_shadow"),
        *("tab_load_test", "tab_sliders", "tab_shuffled_sliders", "tab_hard_cases", "tab_health_checks"),
        *("tab_numeric_noise", "tab_category_noise"),
    }
    assert set(_named(FROZEN)) >= {
        *("mirrored", "quarter_turned", "edge_filtered", "inverted", "thermal", "dithered", "binarised", "salt_and_pepper"),
        *("scrolling", "dead_rows", "other_zoom", "slanted", "compressed", "posterised", "low_bits", "flickering"),
        *("sign_noise", "robustness_sweep", "progressive_drawing", "cross_fade", "time_lapse", "mixup", "lime"),
        *("kernel_shap", "occlusion_map", "integrated_gradients", "patch_recourse"),
        *("tab_unit_change", "tab_imputed", "tab_form_editing", "tab_trend", "tab_young_market", "tab_swapped_columns"),
        *("tab_lime", "tab_shap", "tab_pdp", "tab_permutation_importance", "tab_recourse"),
    }
    assert set(_named(LATER)) >= {
        *("label_scanner", "panning_camera", "super_resolution", "progressive_loading", "uniform_noise", "smoothing"),
        *("elastic", "labelling_tool", "contrast_window", "contour_drawing", "dimming_test"),
        *("tab_price_grid", "tab_quarters", "tab_smote", "tab_monotonicity", "tab_fairness", "tab_stress", "tab_affordability"),
    }


@pytest.mark.parametrize("profile", PICTURES, ids=_named(PICTURES))
def test_pictures_stay_in_the_value_range(profile: Profile, victim: Victim, applied: Lender) -> None:
    """Every query is a finite picture within the value range, as many as were asked for, whoever the client is."""
    for seed in range(4):
        vectors = _play(profile, victim, applied, seed, 80)
        assert vectors.shape == (80, 64)
        assert np.isfinite(vectors).all()
        assert vectors.min() >= 0.0
        assert vectors.max() <= 16.0


@pytest.mark.parametrize("profile", RECORDS, ids=_named(RECORDS))
def test_records_are_ones_that_the_table_could_hold(profile: Profile, victim: Victim, applied: Lender) -> None:
    """Ranges, whole numbers and codes are respected, except by those whose habit is to change units or times."""
    for seed in range(4):
        vectors = _play(profile, victim, applied, seed, 80)
        assert vectors.shape == (80, applied.columns.dimension)
        assert np.isfinite(vectors).all()
        if profile.id not in CHANGING_UNITS:
            assert applied.columns.admits(vectors).all()


@pytest.mark.parametrize("profile", ALL, ids=_named(ALL))
def test_clients_of_a_profile_differ_and_can_be_played_again(profile: Profile, victim: Victim, applied: Lender) -> None:
    """A seed gives a client, a longer budget only continues it, and another seed gives another client."""
    once, again, other = (_play(profile, victim, applied, seed, n) for seed, n in ((5, 60), (5, 40), (6, 60)))
    assert np.array_equal(once[:40], again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("profile", ALL, ids=_named(ALL))
def test_a_queue_that_waits_is_not_changed_by_what_comes_after(profile: Profile, victim: Victim, applied: Lender) -> None:
    """A query that was sent stays as it was sent, and neither pool nor columns are written to."""
    pool = victim.benign.vectors if profile.data == "image" else applied.benign.vectors
    predict = victim.predict if profile.data == "image" else applied.predict
    before = pool.copy()
    client = _begin(profile, victim, applied, 3)
    query = next(client)
    sent, kept = [], []
    for _ in range(30):
        sent.append(query.vector)
        kept.append(query.vector.copy())
        query = client.send(predict(query.vector[None])[0])
    client.close()
    assert all(np.array_equal(a, b) for a, b in zip(sent, kept, strict=True))
    assert np.array_equal(pool, before)


@pytest.mark.parametrize("profile", ALL, ids=_named(ALL))
def test_without_examples_there_is_nothing_to_ask(profile: Profile, victim: Victim, applied: Lender) -> None:
    """An empty pool is an error at once, not an endless silence."""
    pool = victim.benign if profile.data == "image" else applied.benign
    known = victim.value_range if profile.data == "image" else applied.columns
    with pytest.raises(ValueError, match=r"example|picture|record|empty"):
        next(profile.make(pool.vectors[:0], pool.labels[:0], np.random.default_rng(0), known))


@pytest.mark.parametrize("profile", PICTURES, ids=_named(PICTURES))
def test_pictures_of_any_size_and_range(profile: Profile) -> None:
    """Fourteen pixels a side between -1 and 1, from a pool of two pictures: nothing is fixed to the digits."""
    pool = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 196))
    client = profile.make(pool, np.array([0, 1]), np.random.default_rng(1), (-1.0, 1.0))
    vectors, _, _ = converse(client, lambda X: np.column_stack([X[:, 0] > 0.0, X[:, 0] <= 0.0]).astype(np.float64), 60)
    assert vectors.shape == (60, 196)
    assert vectors.min() >= -1.0
    assert vectors.max() <= 1.0
