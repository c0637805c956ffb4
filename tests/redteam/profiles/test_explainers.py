import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.pictures import cells_of
from detector.redteam.profiles import explainers
from detector.redteam.setting import Setting

POOL = np.random.default_rng(0).uniform(2.0, 16.0, (40, 64))
LABELS = np.zeros(40, dtype=np.int64)


def _watch(profile: Begin, seed: int, budget: int) -> Array:
    client = profile(Setting(POOL, LABELS, np.random.default_rng(seed), (0.0, 16.0)))
    return converse(client, lambda X: X[:, :3], budget)[0]


def _is_natural(vector: Array) -> bool:
    return any(np.array_equal(vector, picture) for picture in POOL)


def test_lime_blanks_half_of_the_cells_as_wholes() -> None:
    """Each version keeps whole cells of the explained picture and blanks others, about half of them."""
    for seed in range(5):
        vectors = _watch(explainers.lime, seed, 31)
        assert _is_natural(vectors[0])
        kept = vectors[1:] == vectors[0]
        across = [n for n in (3, 4, 5) if _whole(kept, cells_of(8, n))]
        assert across
        assert 0.35 < kept.mean() < 0.65


def _whole(kept: np.ndarray, cells: np.ndarray) -> bool:
    return all(np.ptp(kept[:, cells == cell].astype(np.int64), axis=1).max() == 0 for cell in range(cells.max() + 1))


def test_shap_asks_for_coalitions_and_their_complements() -> None:
    """A pair of queries together shows the picture once and the background once."""
    for seed in range(4):
        vectors = _watch(explainers.kernel_shap, seed, 21)
        assert _is_natural(vectors[0])
        sums = vectors[1::2] + vectors[2::2]
        assert np.abs(sums - sums[0]).max() < 1e-9
        shown = (vectors[1:] == vectors[0]).mean(axis=1)
        assert shown.min() > 0.0
        assert shown.max() < 1.0


def test_an_occlusion_covers_every_part_once_through() -> None:
    """A small square of one grey, everywhere in turn; no pixel stays uncovered, none else is changed."""
    for seed in range(5):
        vectors = _watch(explainers.occlusion_map, seed, 200)
        natural = [row for row, vector in enumerate(vectors) if _is_natural(vector)]
        covered = vectors[natural[0] + 1 : natural[1]]
        changed = covered != vectors[natural[0]]
        assert len(np.unique(covered[changed])) == 1
        assert changed.sum(axis=1).max() <= 9
        assert changed.any(axis=0).mean() > 0.7


def test_a_path_leads_to_the_picture_in_equal_steps() -> None:
    """Queries of one explanation lie on a line whose end is a natural picture."""
    vectors = _watch(explainers.integrated_gradients, 1, 50)
    ends = [row for row, vector in enumerate(vectors) if any(np.allclose(vector, picture) for picture in POOL)]
    assert 15 <= ends[0] <= 49
    steps = np.diff(vectors[: ends[0] + 1], axis=0)
    assert np.abs(steps - steps[0]).max() < 1e-9


def test_recourse_exchanges_cells_until_the_label_turns() -> None:
    """A dark and a bright picture, and a model that tells them by their mean: just over half of the cells are exchanged.

    Round by round all remaining cells are tried, one fewer each time; then the next pair comes.
    """
    pool = np.repeat([[2.0], [14.0]], 64, axis=1)

    def predict(X: Array) -> Array:
        bright = X.mean(axis=1) / 16.0
        return np.column_stack([1.0 - bright, bright])

    for seed in range(6):
        client = explainers.patch_recourse(Setting(pool, np.array([0, 1]), np.random.default_rng(seed), (0.0, 16.0)))
        vectors, answers, _ = converse(client, predict, 300)
        natural = np.flatnonzero(np.ptp(vectors, axis=1) == 0.0)
        assert natural[:2].tolist() == [0, 1]
        tried = answers[2 : natural[2]].argmax(axis=1)
        exchanged = (vectors[2 : natural[2]] != vectors[0]).sum(axis=1)
        assert set(tried[:-1][exchanged[:-1] < 30].tolist()) == {int(answers[0].argmax())}
        assert answers[1].argmax() in tried
        assert np.all(np.diff(exchanged) > -16)
        assert 30 <= exchanged.max() <= 40


def test_recourse_between_pictures_of_one_label_is_not_searched() -> None:
    """Nothing is to be explained where both are the same to the model: only natural pictures are asked about."""
    client = explainers.patch_recourse(Setting(POOL, LABELS, np.random.default_rng(0), (0.0, 16.0)))
    vectors, _, _ = converse(client, lambda X: np.tile([0.9, 0.1], (len(X), 1)), 40)
    assert all(_is_natural(vector) for vector in vectors)
