"""The partition of a client is Kafka's."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.partition import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_the_java_client(key: bytes, code: int) -> None:
    """The test vectors of Kafka's own UtilsTest."""
    assert murmur2(key) == code & 0xFFFFFFFF


@given(st.text(max_size=40), st.integers(1, 500))
def test_every_client_has_one_partition(client: str, partitions: int) -> None:
    """Any name, also an empty one or one beyond ASCII, falls into the range, and always at the same place."""
    assert 0 <= partition_of(client, partitions) < partitions
    assert partition_of(client, partitions) == partition_of(client, partitions)
    assert partition_of(client, 1) == 0


def test_clients_are_spread_evenly() -> None:
    """Of 12,000 clients each of twelve partitions gets about a thousand."""
    counts = Counter(partition_of(f"client-{i}", 12) for i in range(12_000))
    assert min(counts.values()) > 850
    assert max(counts.values()) < 1150
