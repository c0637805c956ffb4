"""Values in blocks: what is written last, by name, is the value."""

from hypothesis import given
from hypothesis import strategies as st

from detector.service.link import blocks
from detector.service.link.blocks import BLOCK_BYTES, Blocks

SIZE = st.sampled_from([1, 10, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])


@given(st.lists(st.tuples(SIZE, st.integers(0, 3)), min_size=1, max_size=6))
def test_a_compacted_topic_holds_the_value(values: list[tuple[int, int]]) -> None:
    """After any values the blocks that are left make the last one, and whoever reads it goes on saving what changes."""
    kept: dict[str, bytes] = {}
    saving = Blocks("x")
    for size, filling in values:
        value = bytes([filling]) * size
        kept |= saving.changed(value)
        assert saving.changed(value) == {}
        restored = Blocks("x")
        assert restored.whole(kept, -(-size // BLOCK_BYTES)) == value
        assert restored.changed(value) == {}
        saving = restored if filling else saving


def test_only_changed_blocks_are_saved() -> None:
    """One byte changes one block; a missing block is told."""
    saving = Blocks("x")
    value = bytearray(5 * blocks.BLOCK_BYTES)
    assert len(saving.changed(bytes(value))) == 5
    value[2 * BLOCK_BYTES] = 1
    assert list(saving.changed(bytes(value))) == ["x-2"]
    assert saving.whole({"x-0": b"a"}, 2) is None
