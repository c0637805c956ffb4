import numpy as np
import pytest

from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, AskedQuery, Conversation, converse
from detector.redteam.evasion import blinded, covered, duplicated, flushed, slow_drip, woven


def _counting(start: float, heard: list[float] | None = None, *, synthetic: bool = True, end: int = 10_000) -> Conversation:
    for step in range(end):
        answer = yield AskedQuery(np.array([start + step]), synthetic=synthetic)
        if heard is not None:
            heard.append(float(answer[0]))


def _echo(X: Array) -> Array:
    return X * 10.0


def _log(client: Conversation, budget: int) -> list[AskedQuery]:
    queries = [next(client)]
    while len(queries) < budget:
        queries.append(client.send(_echo(queries[-1].vector)))
    client.close()
    return queries


@pytest.mark.parametrize("share", [0.5, 0.75, 0.9, 0.95])
def test_cover_makes_up_its_share_and_keeps_both_orders(share: float) -> None:
    """Both conversations go on as if alone, each hears its own answers, and cover is marked."""
    heard: list[float] = []
    other: list[float] = []
    client = covered(_counting(0.0, heard), _counting(1e6, other, synthetic=False), share, np.random.default_rng(0))
    queries = _log(client, 2000)
    cover = np.array([query.cover for query in queries])
    assert abs(cover.mean() - share) < 0.03
    mine = [query.vector[0] for query in queries if not query.cover]
    theirs = [query.vector[0] for query in queries if query.cover]
    assert mine == list(range(len(mine)))
    assert theirs == [1e6 + i for i in range(len(theirs))]
    assert all(query.synthetic is not query.cover for query in queries)
    assert heard == [10.0 * x for x in range(len(heard))]
    assert other == [10.0 * (1e6 + i) for i in range(len(other))]


def test_cover_ends_with_the_thief_and_does_not_hold_him_up() -> None:
    """A thief who is done needs no cover, and one whose cover runs out goes on alone."""
    vectors, _, _ = converse(covered(_counting(0.0, end=5), _counting(1e6), 0.5, np.random.default_rng(0)), _echo, 100)
    assert (vectors < 1e6).sum() == 5
    vectors, _, _ = converse(covered(_counting(0.0, end=50), _counting(1e6, end=3), 0.5, np.random.default_rng(0)), _echo, 100)
    assert len(vectors) == 53


def test_repeats_are_of_recent_queries_and_marked() -> None:
    """Every repeat is one of the last eight queries, and the thief's own order is kept."""
    queries = _log(duplicated(_counting(0.0), 0.75, np.random.default_rng(1)), 1000)
    assert abs(np.mean([query.cover for query in queries]) - 0.75) < 0.05
    latest = -1.0
    for query in queries:
        if query.cover:
            assert latest - 8.0 < query.vector[0] <= latest
        else:
            assert query.vector[0] == latest + 1.0
            latest = query.vector[0]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_impossible_shares_are_refused(share: float) -> None:
    """A share of cover of one leaves no thief."""
    for client in (
        covered(_counting(0), _counting(0), share, np.random.default_rng(0)),
        duplicated(_counting(0), share, np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match="share of cover"):
            next(client)


def _steps(vectors: list[Array], *, natural: int) -> Conversation:
    for i, vector in enumerate(vectors):
        yield AskedQuery(vector, synthetic=i >= natural)


def test_blinding_changes_what_was_made_and_nothing_else() -> None:
    """Natural queries pass; made ones are moved by noise within the range."""
    vectors = [np.full(16, 0.5)] * 6
    asked, _, _ = converse(blinded(_steps(vectors, natural=3), np.random.default_rng(0), (0.0, 1.0), jitter=0.05), _echo, 6)
    assert np.array_equal(asked[:3], vectors[:3])
    assert 0.0 < np.abs(asked[3:] - 0.5).mean() < 0.1


def test_blinding_stretches_steps_from_the_nearest_query() -> None:
    """The offset keeps its direction; its length varies by up to the stretch."""
    seed = np.full(4, 0.5)
    step = np.array([0.1, 0.0, -0.1, 0.0])
    client = blinded(_steps([seed, *[seed + step] * 20], natural=1), np.random.default_rng(0), (0.0, 1.0), stretch=0.5)
    asked, _, _ = converse(client, _echo, 2)
    ratio = (asked[1] - seed)[[0, 2]] / step[[0, 2]]
    assert ratio[0] == pytest.approx(ratio[1])
    assert 0.5 <= ratio[0] <= 1.5
    assert ratio[0] != 1.0


def test_blinding_moves_pictures() -> None:
    """A movement by fractions of a pixel changes a picture with content and stays within the range."""
    picture = np.random.default_rng(0).uniform(size=16)
    client = blinded(_steps([picture], natural=0), np.random.default_rng(0), (0.0, 1.0), shift=0.5)
    asked, _, _ = converse(client, _echo, 1)
    assert not np.allclose(asked[0], picture)


def test_a_drip_keeps_to_its_rate() -> None:
    """Over many queries no more than the promised number a day, and no bursts are left."""
    rng = np.random.default_rng(0)
    gaps = slow_drip(ARRIVALS["bursty"](rng, 1.0), 100.0, rng)
    drawn = np.array([next(gaps) for _ in range(2000)])
    assert drawn.mean() > 0.95 * 864.0
    assert np.mean(drawn < 10.0) < 0.05
    with pytest.raises(ValueError, match="positive number"):
        next(slow_drip(iter([1.0]), 0.0, rng))


def test_woven_searches_take_turns_and_hear_their_own_answers() -> None:
    """Three searches of different length: one query of each in turn, and those that end are left out."""
    heard: list[list[float]] = [[], [], []]
    searches = [_counting(1000.0 * number, heard[number], end=end) for number, end in enumerate((4, 2, 3))]
    vectors, _, _ = converse(woven(searches), _echo, 100)
    assert vectors.ravel().tolist() == [0.0, 1000.0, 2000.0, 1.0, 1001.0, 2001.0, 2.0, 2002.0, 3.0]
    assert heard == [[10.0 * (1000.0 * n + step) for step in range(end)] for n, end in enumerate((4, 2, 3))]


def test_woven_searches_are_closed_together() -> None:
    """Whoever stops the thief stops all his searches."""
    searches = [_counting(0.0) for _ in range(3)]
    client = woven(searches)
    next(client)
    client.close()
    assert all(next(one, None) is None for one in searches)


def test_a_flush_comes_before_each_query_that_was_made() -> None:
    """Natural queries follow each other at once; before a made one there is a burst of cover."""
    heard: list[float] = []
    thief = _steps([np.full(1, float(i)) for i in range(5)], natural=3)
    queries = _log(flushed(thief, _counting(1e6, heard, synthetic=False), 4), 13)
    assert [query.cover for query in queries] == [False] * 3 + ([True] * 4 + [False]) * 2
    assert [query.vector[0] for query in queries if query.cover] == [1e6 + i for i in range(8)]
    assert heard == [10.0 * (1e6 + i) for i in range(8)]
    with pytest.raises(ValueError, match="at least one query"):
        next(flushed(_counting(0.0), _counting(0.0), 0))
