import numpy as np

from detector.redteam.attacks.hopskipjump import hopskipjump, walk
from detector.redteam.conversation import Array, Conversation, converse, two_labels
from detector.redteam.loans import Lender
from detector.redteam.victim import Victim


def _walk(victim: Victim, seed: int, rounds: int) -> tuple[Array, int, Array, Array]:
    """Return the original picture, its label, the starting picture and the end of the walk."""
    ends: list[tuple[Array, int, Array, Array]] = []

    def client() -> Conversation:
        rng = np.random.default_rng(seed)
        original, label, start = yield from two_labels(victim.attacker.vectors, rng)
        end = yield from walk(original, label, start, rng, victim.value_range, probes=50, rounds=rounds)
        ends.append((original, label, start, end))

    converse(client(), victim.predict, 10_000)
    return ends[0]


def test_a_walk_ends_near_the_boundary_and_nearer_than_it_began(victim: Victim) -> None:
    """Its last point has another label, a small step back has the original one, and rounds bring it closer."""
    gained = []
    for seed in range(5):
        original, label, start, end = _walk(victim, seed, rounds=3)
        _, _, _, bisected = _walk(victim, seed, rounds=0)
        back = end + np.linspace(0.0, 0.1, 50)[:, None] * (original - end)
        labels = victim.predict(back).argmax(axis=1)
        assert labels[0] != label
        assert label in labels
        assert end.min() >= 0.0
        assert end.max() <= 16.0
        assert np.linalg.norm(end - original) < np.linalg.norm(start - original)
        gained.append(np.linalg.norm(end - original) / np.linalg.norm(bisected - original))
    assert np.mean(gained) < 0.7


def test_probes_surround_one_point_by_the_square_root_schedule(victim: Victim) -> None:
    """The first round sends `probes` queries within a tenth of the range of one point."""
    pool = victim.attacker
    client = hopskipjump(victim.setting(pool, np.random.default_rng(1)), probes=40)
    vectors, _, synthetic = converse(client, victim.predict, 300)
    begin = int(np.argmax(synthetic)) + 9  # nine halvings of 1 bring the bracket to 64 ** -1.5
    probes = vectors[begin : begin + 40]
    assert np.all(np.linalg.norm(probes - probes.mean(axis=0), axis=1) < 1.5 * 1.6)
    spread = np.linalg.norm(probes[1:] - probes[:-1], axis=1)
    assert spread.min() > 0.8
    jump = np.linalg.norm(vectors[begin + 40] - probes.mean(axis=0))
    assert jump > 1.5 * 1.6


def test_in_tables_numbers_are_walked_through_and_codes_stay(applied: Lender) -> None:
    """Every made query is a record of the table, with the codes of a natural one that was asked before."""
    columns, coded = applied.columns, list(applied.columns.categorical)
    client = hopskipjump(applied.setting(applied.attacker, np.random.default_rng(3)), probes=20, rounds=2)
    vectors, _, synthetic = converse(client, applied.predict, 200)
    assert columns.admits(vectors).all()
    assert synthetic.mean() > 0.5
    natural = {tuple(row[coded]) for row in vectors[~synthetic]}
    assert {tuple(row[coded]) for row in vectors[synthetic]} <= natural
