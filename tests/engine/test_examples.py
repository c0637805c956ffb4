"""Examples: the latest ids of each kind of evidence, and nothing of a client that left."""

from detector.engine.examples import EXAMPLES, Examples


def test_the_latest_are_kept_newest_last() -> None:
    """At most five of a kind, each kind by itself."""
    examples = Examples()
    for number in range(EXAMPLES + 2):
        examples.add(3, 0, f"e{number}")
    examples.add(3, 1, "other")
    assert {place: list(ids) for place, ids in examples.of(3).items()} == {0: ["e2", "e3", "e4", "e5", "e6"], 1: ["other"]}
    assert len(examples) == EXAMPLES + 1


def test_a_snapshot_replaces_and_a_departure_drops() -> None:
    """Whoever gets the slot next begins without examples."""
    examples = Examples()
    examples.add(3, 0, "before")
    examples.replace(3, {2: ["a", "b"]})
    examples.add(3, 2, "c")
    assert {place: list(ids) for place, ids in examples.of(3).items()} == {2: ["a", "b", "c"]}
    examples.drop(3)
    assert examples.of(3) == {}
    assert len(examples) == 0
