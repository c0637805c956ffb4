"""Keys of marks: one for each model, subject and epoch, made from the master key, so that nothing but that need be stored.

A subject is ``client:ID``, ``organization:ID`` or ``campaign:ID``.
"""

import hashlib
import hmac
import json
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.errors import ConfigError

__all__ = ["MarkName", "dawn_label", "key_digest", "master_key", "name_of", "subject_key"]

_LEAST_BYTES: Final = 16


class MarkName(NamedTuple):
    """A mark as the log names it; `id` says which key it was, without the key."""

    id: str
    subject: str
    epoch: str


def master_key(secret: str | None) -> bytes:
    """Return the master key. Raises `ConfigError` where it is missing, or too short to be a secret."""
    if secret is None:
        raise ConfigError("[ownership] needs the master key: set key_file")
    key = secret.encode()
    if len(key) < _LEAST_BYTES:
        raise ConfigError(
            f"[ownership] the master key has {len(key)} bytes, and needs {_LEAST_BYTES} or more: its hash is published, "
            "and a short key can be guessed from that (`openssl rand -hex 32` makes one)"
        )
    return key


def key_digest(master: bytes) -> str:
    """Return what a commitment says of the master key."""
    return hashlib.sha256(b"detector ownership key\0" + master).hexdigest()


def subject_key(master: bytes, model: str, subject: str, epoch: str) -> bytes:
    """Return the key of a subject, 32 bytes.

    >>> subject_key(b"m" * 16, "a", "client:b", "1") == subject_key(b"m" * 16, "a", "client:b", "2")
    False
    """
    return hmac.digest(master, json.dumps([model, subject, epoch]).encode(), "sha256")  # a list: no two are written alike


def name_of(key: bytes, subject: str, epoch: str) -> MarkName:
    """Return the name of the mark that a subject's key makes."""
    return MarkName(hashlib.sha256(b"detector mark id\0" + key).hexdigest()[:16], subject, epoch)


def dawn_label(key: bytes, vector: npt.NDArray[np.float32], label: int, classes: int, rate: float) -> int:
    """Return the label that a client is told: the model's own, or, for a share `rate` of inputs, a wrong one.

    Szyller et al. (2021), "DAWN": which inputs and which labels depends on the key and on the exact input, so that a copy that
    memorises them can be told. Copies that generalise forget them: weight decay alone washes it out.
    """
    if rate <= 0.0 or classes < 2:
        return label
    digest = hmac.digest(key, b"dawn\0" + np.asarray(vector, "<f4").tobytes(), "sha256")
    if int.from_bytes(digest[:8]) >= rate * 2.0**64:
        return label
    wrong = int.from_bytes(digest[8:12]) % (classes - 1)
    return wrong if wrong < label else wrong + 1
