"""Sealing: encrypting bytes with the secret seed, so that nobody else can read them or change them unnoticed.

A keyed digest of the content (BLAKE2b) comes first. The key stream (SHAKE-256) starts from that digest, as in SIV (RFC 5297).
So equal content gives equal bytes, and two contents never share a key stream. The protection is as good as the seed: 63 random
bits cannot be guessed, a seed that a person chose may be.
"""

import hashlib
import hmac

import numpy as np

TAG_BYTES = 32


def seal(content: bytes, seed: int) -> bytes:
    """Seal bytes under a seed from 0 to 2**63 - 1.

    >>> unseal(seal(b"columns", 7), 7), b"columns" in seal(b"columns", 7)
    (b'columns', False)
    """
    tag = _tag(content, seed)
    return tag + _masked(content, tag, seed)


def unseal(sealed: bytes, seed: int) -> bytes:
    """Return the content; raises `ValueError` when it was sealed under another seed, or was changed."""
    tag = sealed[:TAG_BYTES]
    content = _masked(sealed[TAG_BYTES:], tag, seed)
    if not hmac.compare_digest(tag, _tag(content, seed)):
        raise ValueError("sealed under another seed, or changed since")
    return content


def mark_of(seed: int) -> str:
    """Return eight bytes, in hex, that tell seeds apart without naming them."""
    return hashlib.blake2b(key=_key(seed, b"mark"), digest_size=8).hexdigest()


def _key(seed: int, purpose: bytes) -> bytes:
    return hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=32, person=b"detector-" + purpose).digest()


def _tag(content: bytes, seed: int) -> bytes:
    return hashlib.blake2b(content, key=_key(seed, b"tag"), digest_size=TAG_BYTES).digest()


def _masked(content: bytes, tag: bytes, seed: int) -> bytes:
    stream = hashlib.shake_256(_key(seed, b"stream") + tag).digest(len(content))
    return (np.frombuffer(content, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()
