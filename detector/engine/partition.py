"""The partition of a client, computed as Kafka's default partitioner does.

A log replayed over N partitions is split exactly like a topic of N partitions that is keyed by client.
"""


def murmur2(key: bytes) -> int:
    """Return the 32-bit murmur2 hash with Kafka's seed (Austin Appleby's MurmurHash2; unsigned).

    >>> murmur2(b"21") == -973932308 & 0xFFFFFFFF
    True
    """
    mask = 0xFFFFFFFF
    multiplier = 0x5BD1E995
    length = len(key)
    value = (0x9747B28C ^ length) & mask
    whole = length & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(key[at : at + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ part
    rest = key[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


def partition_of(client: str, partitions: int) -> int:
    """Return the partition, from 0, of a client among `partitions`.

    >>> {partition_of(f"client-{i}", 3) for i in range(20)}
    {0, 1, 2}
    """
    return (murmur2(client.encode()) & 0x7FFFFFFF) % partitions
