import numpy as np
import pytest

from detector.redteam.attacks.line_search import Cut, line_search
from detector.redteam.conversation import Conversation, converse
from detector.redteam.loans import Lender
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def test_each_bisection_halves_its_step_down_to_the_tolerance(victim: Victim) -> None:
    """Within a run of made queries each step is half the last, and the run ends just at the tolerance."""
    pool = victim.attacker
    client = line_search(victim.setting(pool, np.random.default_rng(2)), tolerance=0.01)
    vectors, _, synthetic = converse(client, victim.predict, 400)
    runs = np.split(vectors, np.flatnonzero(np.diff(synthetic.astype(np.int64))) + 1)
    searches = [run for run, made in zip(runs[:-1], _starts(runs, synthetic), strict=False) if made]
    assert len(searches) > 20
    for search in searches:
        steps = np.linalg.norm(np.diff(search, axis=0), axis=1)
        np.testing.assert_allclose(steps[1:], steps[:-1] / 2.0, rtol=1e-6)
        assert 0.5 * 0.16 < steps[-1] <= 0.16


def test_the_search_ends_where_the_labels_meet(victim: Victim) -> None:
    """Near the last point of a run both labels of its bracket are found."""
    pool = victim.attacker
    client = line_search(victim.setting(pool, np.random.default_rng(3)))
    vectors, answers, synthetic = converse(client, victim.predict, 400)
    ends = np.flatnonzero(synthetic[:-1] & ~synthetic[1:])
    margins = np.sort(answers[ends], axis=1)
    assert np.median(margins[:, -1] - margins[:, -2]) < 0.1
    assert len(vectors) == 400


def test_a_model_with_one_label_leaves_nothing_to_search() -> None:
    """Against a constant model the attack only asks about natural pictures."""
    pool = np.random.default_rng(0).uniform(size=(30, 4))
    client = line_search(Setting(pool, np.zeros(30, dtype=np.int64), np.random.default_rng(0)))
    _, _, synthetic = converse(client, lambda X: np.tile([0.9, 0.1], (len(X), 1)), 50)
    assert len(synthetic) == 50
    assert not synthetic.any()


@pytest.mark.parametrize("cut", ["golden", "random"])
def test_other_cuts_are_not_in_the_middle(victim: Victim, cut: Cut) -> None:
    """Within a search each query cuts its bracket on the line, at the golden section or anywhere from 20 to 80%."""
    pool = victim.attacker
    client = line_search(victim.setting(pool, np.random.default_rng(4)), cut=cut)
    shares = _shares(client, victim)
    assert len(shares) > 100
    if cut == "golden":
        np.testing.assert_allclose(shares, (np.sqrt(5.0) - 1.0) / 2.0, rtol=1e-6)
    else:
        assert 0.2 <= shares.min() < 0.3
        assert 0.7 < shares.max() <= 0.8


def test_jitter_leaves_the_line(victim: Victim) -> None:
    """Under noise no query lies on the line between its bracket's ends, and it stays within the range."""
    pool = victim.attacker
    client = line_search(victim.setting(pool, np.random.default_rng(5)), jitter=0.03)
    vectors, _, synthetic = converse(client, victim.predict, 60)
    first = int(synthetic.argmax())
    near, far, made = vectors[0], vectors[first - 1], vectors[first]
    assert 0.1 < np.linalg.norm(made - (near + far) / 2.0) < 0.03 * 16.0 * 8.0 * 2.0


def test_records_are_searched_as_records(applied: Lender) -> None:
    """Whole numbers stay whole and codes are known ones; the search still ends where labels meet."""
    pool = applied.attacker
    rng = np.random.default_rng(6)
    client = line_search(applied.setting(pool, rng))
    vectors, answers, synthetic = converse(client, applied.predict, 300)
    assert applied.columns.admits(vectors).all()
    ends = np.flatnonzero(synthetic[:-1] & ~synthetic[1:])
    assert np.median(np.abs(answers[ends, 0] - 0.5)) < np.median(np.abs(answers[~synthetic, 0] - 0.5)) / 2.0


def _shares(client: Conversation, victim: Victim) -> np.ndarray:
    """Where each made query of a log cuts its bracket, which is known from the labels."""
    vectors, answers, synthetic = converse(client, victim.predict, 300)
    labels = answers.argmax(axis=1)
    shares = []
    natural: list[int] = []
    for i, made in enumerate(synthetic):
        if not made:
            natural = [] if i and synthetic[i - 1] else natural
            natural.append(i)
            near, label = vectors[natural[0]], labels[natural[0]]
            far = vectors[i]
            continue
        shares.append(np.linalg.norm(vectors[i] - near) / np.linalg.norm(far - near))
        near, far = (vectors[i], far) if labels[i] == label else (near, vectors[i])
    return np.array(shares)


def _starts(runs: list[np.ndarray], synthetic: np.ndarray) -> list[bool]:
    starts = np.cumsum([0] + [len(run) for run in runs[:-1]])
    return [bool(synthetic[start]) for start in starts]


def test_a_shallow_search_stops_after_two_halvings(victim: Victim) -> None:
    """No run of made queries is longer than two."""
    client = line_search(victim.setting(victim.attacker, np.random.default_rng(6)), most=2)
    _, _, synthetic = converse(client, victim.predict, 200)
    lengths = np.diff(np.flatnonzero(np.concatenate([[True], ~synthetic, [True]]))) - 1
    assert lengths.max() == 2
    assert (lengths == 2).sum() > 20


def test_cuts_by_the_arcsine_law_lie_near_the_ends(victim: Victim) -> None:
    """More of them in the outer fifths than in the middle three."""
    client = line_search(victim.setting(victim.attacker, np.random.default_rng(7)), cut="arcsine")
    shares = _shares(client, victim)
    assert (np.abs(np.array(shares) - 0.5) > 0.3).mean() > 0.4
