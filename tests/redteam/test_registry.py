"""Promises that every attack and every benign profile keeps, on each kind of data that it takes.

A new one is held to them as soon as its module is listed; nothing is to be added here.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from detector.redteam import attacks, profiles
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.entries import Attack, Profile, Wave, attack, profile
from detector.redteam.registry import ATTACKS, PROFILES, profiles_of
from detector.redteam.setting import Data, Setting
from detector.redteam.targets import Target
from detector.redteam.texts import on_sphere
from detector.redteam.victim import Pool

Targets = Mapping[Data, Target]

NEEDS_ART = pytest.mark.skipif(
    importlib.util.find_spec("art") is None, reason="the adversarial-robustness-toolbox (extra: art) is not installed"
)
THIEVES = [
    pytest.param(one, data, marks=[NEEDS_ART] if one.extra else [], id=f"{name}-{data}")
    for name, one in ATTACKS.items()
    for data in one.data
]
INNOCENTS = [pytest.param(one, one.data, id=name) for name, one in PROFILES.items()]
CLIENTS = [*THIEVES, *INNOCENTS]
ON_PICTURES = [pytest.param(one, id=name) for name, one in PROFILES.items() if one.data == "image"]
WAVES: tuple[Wave, ...] = ("known", "frozen", "later", "held-out")
FOREIGN = {"knockoff_random", "knockoff_adaptive", "knockoff_textures", "knockoff_shapes", "copycat", "knockoff_texts"}
CHANGING_UNITS = {"tab_unit_change", "tab_trend"}


def _pool(one: Attack | Profile, target: Target) -> Pool:
    return target.attacker if isinstance(one, Attack) else target.benign


def _begin(one: Attack | Profile, target: Target, seed: int) -> Conversation:
    client = one.begin(target.setting(_pool(one, target), np.random.default_rng(seed)))
    return on_sphere(client) if target.unit else client


def _asked(client: Conversation, target: Target, budget: int) -> Iterator[AskedQuery]:
    query = next(client)
    for _ in range(budget - 1):
        yield query
        query = client.send(np.asarray(target.predict(query.vector[None]), dtype=np.float64)[0])
    yield query
    client.close()


def _vectors(one: Attack | Profile, target: Target, seed: int, budget: int) -> Array:
    return np.stack([query.vector for query in _asked(_begin(one, target, seed), target, budget)])


class Session(NamedTuple):
    """Eighty queries of a client, their vectors as they were when sent, and whether its pool stayed as it was."""

    queries: list[AskedQuery]
    sent: Array
    untouched: bool


Played = Callable[[Attack | Profile, Data], Session]


@pytest.fixture(scope="module")
def played(targets: Targets) -> Played:
    """Play each client once for all tests that only look at what it did."""

    @cache
    def play(one: Attack | Profile, data: Data) -> Session:
        target = targets[data]
        pool = _pool(one, target)
        vectors, labels = pool.vectors.copy(), pool.labels.copy()
        seen = [(query, query.vector.copy()) for query in _asked(_begin(one, target, 5), target, 80)]
        untouched = np.array_equal(pool.vectors, vectors) and np.array_equal(pool.labels, labels)
        return Session([query for query, _ in seen], np.stack([vector for _, vector in seen]), untouched)

    return play


@pytest.mark.parametrize(("one", "data"), CLIENTS)
def test_queries_are_ones_that_the_model_takes(one: Attack | Profile, data: Data, targets: Targets, played: Played) -> None:
    """As many as the budget, finite, in the value range, on the sphere or in the table; whoever the client is."""
    target = targets[data]
    others = range(3 if isinstance(one, Profile) else 0)
    for vectors in (played(one, data).sent, *(_vectors(one, target, seed, 80) for seed in others)):
        assert vectors.shape == (80, target.attacker.vectors.shape[1])
        assert np.isfinite(vectors).all()
        if target.columns is not None:
            assert one.id in CHANGING_UNITS or target.columns.admits(vectors).all()
        elif target.unit:
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
        else:
            assert target.value_range[0] <= vectors.min() <= vectors.max() <= target.value_range[1]


@pytest.mark.parametrize(("one", "data"), CLIENTS)
def test_a_seed_gives_a_client(one: Attack | Profile, data: Data, targets: Targets, played: Played) -> None:
    """The same seed gives the same queries, a longer budget only continues them, and another seed gives others."""
    once = played(one, data).sent[:30]
    assert np.array_equal(once, _vectors(one, targets[data], 5, 30))
    assert not np.array_equal(once, _vectors(one, targets[data], 6, 30))


@pytest.mark.parametrize(("one", "data"), CLIENTS)
def test_a_query_that_was_sent_stays_and_so_does_the_pool(one: Attack | Profile, data: Data, played: Played) -> None:
    """A query may wait in a queue while the client goes on, and others hold the same pool."""
    queries, sent, untouched = played(one, data)
    assert np.array_equal(np.stack([query.vector for query in queries]), sent)
    assert untouched


@pytest.mark.parametrize(("one", "data"), CLIENTS)
def test_the_truth_about_queries_is_told(one: Attack | Profile, data: Data, targets: Targets, played: Played) -> None:
    """Innocents make nothing in the sense of a theft; what a thief does not mark as made is an example that he holds."""
    queries = played(one, data).queries
    assert not any(query.cover for query in queries)
    made = np.array([query.synthetic for query in queries])
    if isinstance(one, Profile):
        assert not made.any()
        return
    found = {row.astype(np.float32).tobytes() for row in targets[data].attacker.vectors}
    known = np.array([query.vector.astype(np.float32).tobytes() in found for query in queries])
    if one.id in FOREIGN or one.id.endswith("_foreign"):
        assert not made.any()
        assert not known.any()
    else:
        assert known[~made].all()
        assert not made.any() or not known[made].all()


@pytest.mark.parametrize(("one", "data"), THIEVES)
def test_no_attack_fails_where_only_labels_are_told(one: Attack, data: Data, targets: Targets) -> None:
    """Certainties for answers are played through, whether they suffice or not."""
    vectors = _vectors(one, targets[data].labels_only(), 3, 40)
    assert len(vectors) == 40
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("one", [*ATTACKS.values(), *PROFILES.values()], ids=lambda one: one.id)
def test_other_data_are_refused_before_the_first_query(one: Attack | Profile, targets: Targets) -> None:
    """A step in a code means nothing, and a picture has no leaves."""
    takes = one.data if isinstance(one, Attack) else (one.data,)
    for data, target in targets.items():
        if data not in takes:
            with pytest.raises(ValueError, match=f"{one.id} takes {' or '.join(takes)} data, not {data}"):
                one.begin(target.setting(target.benign, np.random.default_rng(0)))


@pytest.mark.parametrize(("one", "data"), INNOCENTS)
def test_without_examples_there_is_nothing_to_ask(one: Profile, data: Data, targets: Targets) -> None:
    """An empty pool is an error at once, not an endless silence."""
    target = targets[data]
    empty = Pool(target.benign.vectors[:0], target.benign.labels[:0])
    with pytest.raises(ValueError, match=r"example|picture|record|empty"):
        next(one.begin(target.setting(empty, np.random.default_rng(0))))


@pytest.mark.parametrize("one", ON_PICTURES)
def test_pictures_of_any_size_and_range(one: Profile, targets: Targets) -> None:
    """Fourteen pixels a side between -1 and 1, from a pool of two pictures: nothing is fixed to the digits."""
    pool = Pool(np.random.default_rng(0).uniform(-1.0, 1.0, (2, 196)), np.array([0, 1]))
    other = replace(
        targets["image"],
        benign=pool,
        value_range=(-1.0, 1.0),
        predict=lambda X: np.column_stack([X[:, 0] > 0.0, X[:, 0] <= 0.0]).astype(np.float64),
    )
    vectors = _vectors(one, other, 1, 60)
    assert vectors.shape == (60, 196)
    assert -1.0 <= vectors.min() <= vectors.max() <= 1.0


def test_every_entry_says_what_it_is() -> None:
    """Keys are the entries' ids in lower case with underscores, named for their data; the other words are there."""
    for registry in (ATTACKS, PROFILES):
        for key, one in registry.items():
            assert key == one.id
            assert re.fullmatch(r"[a-z][a-z0-9_]*", key)
            assert all((one.title, one.family, one.source, one.data))
    assert not ATTACKS.keys() & PROFILES.keys()
    assert {one.arrival for one in PROFILES.values()} <= ARRIVALS.keys()
    for prefix, data in (("tab_", "tabular"), ("text_", "text")):
        assert all(name.startswith(prefix) == (one.data == data) for name, one in PROFILES.items())
    for wave in WAVES:
        assert profiles_of("image", wave)
        assert profiles_of("tabular", wave)


@pytest.mark.parametrize("package", [attacks, profiles], ids=lambda package: package.__name__)
def test_every_client_is_declared(package: ModuleType) -> None:
    """Every module is listed, and every public function that begins a conversation is an entry, so none is forgotten."""
    assert {found.name for found in pkgutil.iter_modules(package.__path__)} == set(package.MODULES)
    entries = (ATTACKS if package is attacks else PROFILES).values()
    declared = {one.make.func if isinstance(one.make, partial) else one.make for one in entries}
    written: set[Callable[..., object]] = set()
    for name in package.MODULES:
        for word, function in inspect.getmembers(importlib.import_module(f"{package.__name__}.{name}"), inspect.isfunction):
            signature = inspect.signature(function)
            if signature.return_annotation == Conversation and "setting" in signature.parameters and not word.startswith("_"):
                written.add(function)
    assert written == declared


def test_an_id_is_given_once() -> None:
    """Two entries under one id would hide one of them, whichever kind they are."""

    def client(setting: Setting) -> Conversation:
        del setting
        yield AskedQuery(np.zeros(1))

    with pytest.raises(ValueError, match="two clients with the id 'uniform'"):
        profile(id="uniform", title="t", family="f", source="s", wave="later")(client)
    with pytest.raises(ValueError, match="two clients with the id 'steady'"):
        attack(id="steady", title="t", family="f", source="s")(client)


def test_published_ids_and_their_waves_stay() -> None:
    """Ids that stand in tables and logs: one may be added here, none changed, taken away or moved to another wave."""
    assert ATTACKS.keys() >= {
        *(
            "uniform",
            "adaptive_retraining",
            "equation_solving",
            "functionally_equivalent",
            "path_finding",
            "path_finding_labels",
        ),
        *("line_search", "line_search_golden", "line_search_random", "line_search_jitter_01", "line_search_jitter_03"),
        *("lowd_meek", "one_feature_bisect", "one_feature_bisect_whole", "jbda", "jbda_reversed", "jbda_noisy", "jbda_uneven"),
        *("jbda_heavy_tailed", "jbda_moved", "jbda_sparse", "jbda_along", "jbrand", "t_rnd", "color", "best"),
        *("knockoff_random", "knockoff_adaptive", "knockoff_textures", "knockoff_shapes", "copycat", "knockoff_texts"),
        *("generator_proxy", "marginals", "half_swapped", "active_uncertainty", "active_k_center_outputs"),
        *("active_k_center_inputs", "active_dfal", "active_dfal_k_center", "active_uncertainty_foreign"),
        *("active_k_center_outputs_foreign", "active_k_center_inputs_foreign", "active_dfal_foreign", "hopskipjump"),
        *("boundary", "sign_opt", "zoo", "finite_differences", "art_hopskipjump", "art_boundary", "art_sign_opt", "art_zoo"),
        *("line_search_arcsine", "line_search_shallow", "one_feature_bisect_shallow", "jbda_toned_and_moved", "jbda_smooth"),
        *("jbda_by_block", "jbda_heavy_tailed_whole", "jbda_jpeg", "copula", "smote", "cut_mix", "three_points"),
        *("augmented_seeds", "gaussian"),
    }
    waves = {wave: {name for name, one in PROFILES.items() if one.wave == wave} for wave in WAVES}
    assert waves["known"] >= {
        *("steady", "bursty", "skewed", "video", "retries", "noisy_sensor", "drifting", "nightly", "ab_shadow", "load_test"),
        *("sliders", "shuffled_sliders", "augmentation", "blur", "gain", "hard_cases", "health_checks"),
        *("tab_steady", "tab_bursty", "tab_skewed", "tab_retries", "tab_what_if", "tab_nightly", "tab_ab_shadow"),
        *("tab_load_test", "tab_sliders", "tab_shuffled_sliders", "tab_hard_cases", "tab_health_checks"),
        *("tab_numeric_noise", "tab_category_noise"),
        *("text_steady", "text_skewed", "text_retries", "text_load_test", "text_paraphrase", "text_conversation"),
        "text_form_letters",
    }
    assert waves["frozen"] >= {
        *("mirrored", "quarter_turned", "edge_filtered", "inverted", "thermal", "dithered", "binarised", "salt_and_pepper"),
        *("scrolling", "dead_rows", "other_zoom", "slanted", "compressed", "posterised", "low_bits", "flickering"),
        *("sign_noise", "robustness_sweep", "progressive_drawing", "cross_fade", "time_lapse", "mixup", "lime"),
        *("kernel_shap", "occlusion_map", "integrated_gradients", "patch_recourse"),
        *("tab_unit_change", "tab_imputed", "tab_form_editing", "tab_trend", "tab_young_market", "tab_swapped_columns"),
        *("tab_lime", "tab_shap", "tab_permutation_shap", "tab_pdp", "tab_permutation_importance", "tab_recourse"),
    }
    assert waves["later"] >= {
        *("label_scanner", "panning_camera", "super_resolution", "progressive_loading", "uniform_noise", "smoothing"),
        *("elastic", "labelling_tool", "contrast_window", "contour_drawing", "dimming_test"),
        *("tab_price_grid", "tab_quarters", "tab_smote", "tab_monotonicity", "tab_fairness", "tab_stress", "tab_affordability"),
        *("text_typing", "text_misspelt"),
    }
    assert waves["held-out"] >= {
        *("canary", "dashboard", "plus_button", "monte_carlo", "tab_canary", "tab_dashboard", "tab_plus_button"),
        *("tab_monte_carlo", "text_canary", "text_dashboard", "text_monte_carlo", "text_autocomplete", "text_rag_chunks"),
    }
