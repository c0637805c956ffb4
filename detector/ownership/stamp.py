"""Time stamps (RFC 3161): that a file was there at a moment, by the word of a time-stamping authority.

Nothing here uses the network. The request is a file, which its owner posts to the authority of his choice; the answer is a
file, too. Needs rfc3161-client.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector import private
from detector.distribution import install
from detector.errors import ConfigError, OutputError, OwnershipError

__all__ = ["request_for", "stamped_at", "too_late", "write_request"]


def request_for(content: bytes) -> bytes:
    """Return the request for a time stamp of some content. Raises `ConfigError` where rfc3161-client is not installed."""
    client = _client()
    request = client.TimestampRequestBuilder().data(content).hash_algorithm(client.HashAlgorithm.SHA256).build()
    return bytes(request.as_bytes())


def write_request(path: Path) -> Path:
    """Write the request for a time stamp of a file beside it, as FILE.tsq. Raises `OutputError`, `ConfigError`."""
    out = path.with_name(f"{path.name}.tsq")
    content = _content(path)
    try:
        private.write(out, request_for(content))
    except OSError as error:
        raise OutputError(f"{out}: cannot write the request: {error.strerror or error}") from error
    return out


def stamped_at(content: bytes, response: Path, roots: Sequence[Path]) -> dt.datetime:
    """Return when content was there, by a time stamp whose signature leads to one of the root certificates (PEM).

    Raises `OwnershipError` where the stamp is not for this content or not theirs, `ConfigError` where it cannot be read.
    """
    client = _client()
    try:
        answer = client.decode_timestamp_response(_content(response))
    except ValueError as error:
        raise ConfigError(f"{response}: is no answer of a time-stamping authority: {error}") from error
    certificates = [certificate for root in roots for certificate in _certificates(root)]
    if not certificates:
        raise ConfigError("a time stamp needs the authority's root certificate: name it with --tsa-root")
    builder = client.VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify_message(answer, content)
    except client.VerificationError as error:
        raise OwnershipError(f"{response}: the time stamp does not hold for this file: {error}") from error
    time: dt.datetime = answer.tst_info.gen_time
    return time


def too_late(stamped: dt.datetime, first_ms: int) -> str | None:
    """Return why a commitment of `stamped` proves nothing about marks since `first_ms`; None where it came first."""
    first = dt.datetime.fromtimestamp(first_ms / 1000, dt.UTC)
    if stamped <= first:
        return None
    when, began = f"{stamped:%Y-%m-%d %H:%M:%S}", f"{first:%Y-%m-%d %H:%M:%S}"
    return f"the commitment was there on {when} UTC, after the first marked answer ({began})"


def _certificates(path: Path) -> list[Any]:
    from cryptography import x509  # noqa: PLC0415  # comes with rfc3161-client

    try:
        return list(x509.load_pem_x509_certificates(_content(path)))
    except ValueError as error:
        raise ConfigError(f"{path}: holds no certificate in PEM: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _client() -> Any:
    try:
        import rfc3161_client  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigError(f"time stamps need rfc3161-client: {install('ownership')}") from None
    return rfc3161_client
