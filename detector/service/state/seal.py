"""The seal: it distinguishes records of this service from those that another program wrote to a topic of its own.

State and sketches are sealed. The seal is a keyed hash (BLAKE2b, 16 bytes) over a record's partition, key, value and number of
parts. The key of the hash is derived from the secret seed. Without the seed a record cannot be made, changed, or moved to
another client or partition. After a change of the seed no saved state can be used; the service then refuses to start and says
so.

Blind to: an old record that is written again under the same key, and a record that was deleted, or overwritten and then
compacted away. Only the service should have write access to the topic.
"""

from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest

SEAL = "seal"  # name of the header
SEAL_BYTES = 16


class Seal:
    r"""Seals and checks records; `seed` is the secret one of the configuration.

    >>> seal = Seal(7)
    >>> mark = seal.of(0, b"key", b"value", 1)
    >>> [seal.fits([(SEAL, mark)], *where) for where in ((0, b"key", b"value", 1), (1, b"key", b"value", 1))]
    [True, False]
    """

    def __init__(self, seed: int, purpose: str = "state") -> None:
        self._person = f"detector {purpose}".encode()
        self._key = blake2b(str(seed).encode(), digest_size=32, person=b"detector seal").digest()

    def of(self, partition: int, key: bytes, value: bytes | None, parts: int) -> bytes:
        """Return the seal of a record; `value` None deletes, `parts` is how many parts the whole value has."""
        digest = blake2b(key=self._key, digest_size=SEAL_BYTES, person=self._person)
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
        """Return whether these headers hold the valid seal of the record."""
        found = [given or b"" for name, given in headers if name == SEAL]
        return len(found) == 1 and compare_digest(found[0], self.of(partition, key, value, parts))
