"""New kinds of clients are noted once each."""

from detector.engine.findings import Unfamiliar
from detector.engine.kinds import EXAMPLES, MOST_KINDS, Kinds

QUIET = Unfamiliar(2.0, 1, ("step below",))


def test_clients_of_one_kind_are_noted_together() -> None:
    """The kind keeps its first clients, each once, and says in what it differs."""
    kinds = Kinds()
    for number in range(2 * EXAMPLES):
        kinds.add(QUIET, f"client-{number}")
        kinds.add(QUIET, "client-0")
    (kind,) = kinds
    assert kind.clients == tuple(f"client-{number}" for number in range(EXAMPLES))
    assert "step below" in kind.tell()


def test_made_up_kinds_do_not_fill_the_memory() -> None:
    """No more than `MOST_KINDS` are noted."""
    kinds = Kinds()
    for number in range(2 * MOST_KINDS):
        kinds.add(Unfamiliar(2.0, number, ("step below",)), "client")
    assert len(list(kinds)) == MOST_KINDS
