import numpy as np
import numpy.typing as npt

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.loans import Lender
from detector.redteam.profiles import table_explainers


def _play(profile: Begin, applied: Lender, seed: int, budget: int = 200) -> tuple[Array, Array]:
    pool = applied.benign
    client = profile(applied.setting(pool, np.random.default_rng(seed)))
    vectors, answers, _ = converse(client, applied.predict, budget)
    return vectors, answers


def _natural(vectors: Array, applied: Lender) -> npt.NDArray[np.bool_]:
    rows = {row.tobytes() for row in applied.benign.vectors}
    return np.array([row.tobytes() in rows for row in vectors])


def test_lime_draws_about_a_record_or_about_the_mean(applied: Lender) -> None:
    """Drawn records spread as the table does; some clients centre them on the record, others do not."""
    pulls = []
    numbers = list(applied.columns.numeric)
    for seed in range(10):
        vectors, _ = _play(table_explainers.tab_lime, applied, seed, 31)
        record, drawn = vectors[0], vectors[1:]
        usual = applied.benign.vectors[:, numbers].mean(axis=0)
        way = record[numbers] - usual
        pulls.append(float((drawn[:, numbers].mean(axis=0) - usual) @ way / (way @ way)))
    assert max(pulls) > 0.6
    assert min(pulls) < 0.5


def test_shap_completes_coalitions_from_the_background(applied: Lender) -> None:
    """Two queries of a pair hold the explained record and a background record between them, attribute by attribute."""
    for seed in range(4):
        vectors, _ = _play(table_explainers.tab_shap, applied, seed, 21)
        record, first, second = vectors[0], vectors[1::2], vectors[2::2]
        assert ((first == record) | (second == record)).all()
        others = np.where(first == record, second, first)
        assert _natural(others[:1], applied).all() or (others[:1] == record).any()


def test_permutation_shap_walks_from_the_background_to_the_record_and_back(applied: Lender) -> None:
    """Each query changes one attribute of the one before to the other record's value, and each way ends at a natural record."""
    for seed in range(4):
        vectors, _ = _play(table_explainers.tab_permutation_shap, applied, seed, 60)
        background, record = vectors[0], vectors[1]
        apart = int((background != record).sum())
        there, back = vectors[2 : 2 + apart], vectors[2 + apart : 2 + 2 * apart]
        for begin, way, end in ((background, there, record), (record, back, background)):
            assert ((np.vstack([begin, way[:-1]]) != way).sum(axis=1) == 1).all()
            assert ((way == record) | (way == background)).all()
            assert np.array_equal(way[-1], end)
        turned = [int(np.flatnonzero(one != two)[0]) for one, two in zip([background, *there], there, strict=False)]
        returned = [int(np.flatnonzero(one != two)[0]) for one, two in zip([record, *back], back, strict=False)]
        assert turned == returned
        assert _natural(vectors[:2], applied).all()


def test_partial_dependence_sets_one_column_of_the_same_records(applied: Lender) -> None:
    """A run over the records has one value in one column; the next run another value of it, the records being the same."""
    vectors, _ = _play(table_explainers.tab_pdp, applied, 1, 400)
    sizes = [n for n in range(10, 41) if (np.ptp(vectors[:n], axis=0) == 0).any() and _one_column(vectors, n)]
    assert sizes


def _one_column(vectors: Array, size: int) -> bool:
    first, second = vectors[:size], vectors[size : 2 * size]
    changed = np.flatnonzero((first != second).any(axis=0))
    return len(changed) == 1 and bool((np.ptp(first[:, changed], axis=0) == 0).all())


def test_permutation_importance_shuffles_one_column_at_a_time(applied: Lender) -> None:
    """The first records are natural; afterwards columns hold the same values in other places, one column a run."""
    for seed in range(3):
        vectors, _ = _play(table_explainers.tab_permutation_importance, applied, seed, 240)
        natural = _natural(vectors, applied)
        size = int(np.flatnonzero(~natural)[0])
        sizes = [n for n in range(20, 61) if n >= size * 0.5 and _shuffled(vectors, n)]
        assert sizes


def _shuffled(vectors: Array, size: int) -> bool:
    first, second = vectors[:size], vectors[size : 2 * size]
    changed = np.flatnonzero((first != second).any(axis=0))
    return len(changed) == 1 and np.array_equal(np.sort(first[:, changed[0]]), np.sort(second[:, changed[0]]))


def test_recourse_changes_few_attributes_until_the_answer_turns(applied: Lender) -> None:
    """No query differs from the person in more than two attributes, and when the label turns the search ends."""
    turned = 0
    for seed in range(5):
        vectors, answers = _play(table_explainers.tab_recourse, applied, seed, 300)
        labels = answers.argmax(axis=1)
        person = 0
        natural = _natural(vectors, applied)
        for row in range(1, 300):
            away = int((vectors[row] != vectors[person]).sum())
            if natural[row] and away > 2:
                person = row
                continue
            assert away <= 2
            if labels[row] != labels[person]:
                turned += 1
    assert turned > 5
