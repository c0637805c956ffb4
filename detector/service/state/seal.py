"""The seal: what tells records of the state that this service wrote from those that somebody else put into its topic.

A record bears a keyed hash (BLAKE2b, 16 bytes) over its partition, its key, its value and the number of its parts. The key is
derived from the secret seed, so a record cannot be made, changed, or moved to another client or partition without the seed. A
changed seed makes all saved state worthless, and that is told.

Blind to: an old record of the same key that is written again, and one that is deleted or overwritten and then compacted away.
Nobody but the service should have write access to the topic.
"""

from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest

SEAL = "seal"  # header of a record
SEAL_BYTES = 16


class Seal:
    r"""Seals and checks records; `seed` is the secret one of the configuration.

    >>> seal = Seal(7)
    >>> mark = seal.of(0, b"key", b"value", 1)
    >>> [seal.fits([(SEAL, mark)], *where) for where in ((0, b"key", b"value", 1), (1, b"key", b"value", 1))]
    [True, False]
    """

    def __init__(self, seed: int) -> None:
        self._key = blake2b(str(seed).encode(), digest_size=32, person=b"detector seal").digest()

    def of(self, partition: int, key: bytes, value: bytes | None, parts: int) -> bytes:
        """Return the seal of a record; `value` None deletes, `parts` is how many parts the whole value has."""
        digest = blake2b(key=self._key, digest_size=SEAL_BYTES, person=b"detector state")
        digest.update(b"%d %d %d %d " % (partition, parts, value is None, len(key)))
        digest.update(key)
        digest.update(value or b"")
        return digest.digest()

    def fits(
        self,
        headers: Iterable[tuple[str, bytes | None]],
        partition: int,
        key: bytes,
        value: bytes | None,
        parts: int,
    ) -> bool:
        """Tell whether a record with these headers bears the seal that belongs to it."""
        found = [given or b"" for name, given in headers if name == SEAL]
        return len(found) == 1 and compare_digest(found[0], self.of(partition, key, value, parts))
