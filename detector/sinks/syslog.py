r"""Syslog (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587, octets counted) and TLS (RFC 5425).

Syslog has no responses, so a message that reached the receiver's machine may still be lost there. Over TCP and TLS a batch
counts as delivered when that machine has acknowledged every byte. A connection that is reset had unread bytes, so the last
messages sent over it are sent again; some may arrive twice. UDP reports only that nobody listens; use it where losing a message
does no harm.

The message is sent without the byte order mark that RFC 5424 requires before UTF-8, since receivers of JSON and CEF take the
mark for part of the text.
"""

import contextlib
import errno
import os
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from detector.config import DeliverySection
from detector.contracts import rfc3339
from detector.contracts.ecs import Severity
from detector.errors import ConfigError, RefusedError, RetryableError
from detector.exchange import dial, left_s, send_all
from detector.sinks.delivery import Delivery
from detector.sinks.formats import Format, encoder
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver, SinkKind, rendered

LARGEST_DATAGRAM: Final = 65_507
RESENT_BYTES: Final = 1_048_576  # that a receiver's machine may have received and not read
AT_ONCE: Final = 200
_MOST_READ: Final = 65_536  # bytes per check of what a receiver sends, which is discarded
_SEVERITIES: Final[Mapping[Severity, int]] = {"low": 5, "medium": 4, "high": 3, "critical": 2}


class SyslogSection(DeliverySection):
    """A syslog receiver."""

    kind: Literal["syslog"] = Field("syslog", description="what takes it")
    format: Format = Field("cef", description="how alerts and decisions are written")
    address: str = Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):[0-9]{1,5}$", description="host:port")
    transport: Literal["udp", "tcp", "tls"] = Field("tls", description="how it is sent")
    facility: int = Field(13, ge=0, le=23, description="13 is audit, 16 to 23 are local0 to local7")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the receiver's")


def frame(message: Message, *, facility: int, host: str) -> bytes:
    r"""Return the syslog message: priority, version, time, host, program, process, kind, no structured data, text.

    >>> from detector.sinks.message import Message
    >>> frame(Message("7", "alert", 1_777_890_667_412, "high", b"CEF:0|..."), facility=13, host="siem 1")
    b'<107>1 2026-05-04T10:31:07.412Z siem1 detector - alert - CEF:0|...'
    """
    priority = 8 * facility + _SEVERITIES[message.severity]
    name = "".join(character for character in host if "!" <= character <= "~")[:255] or "-"
    front = f"<{priority}>1 {rfc3339(message.time_ms)} {name} detector - {message.kind} - "
    return front.encode("ascii") + message.body


class UdpSyslog(Delivery):
    """Sends one datagram per message."""

    def __init__(self, host: str, port: int, *, facility: int = 13, origin: str | None = None) -> None:
        self._where = (host, port)
        self._facility = facility
        self._origin = origin or socket.gethostname()
        self._socket: socket.socket | None = None

    def deliver(self, batch: Sequence[Message]) -> None:
        """Send the batch; it raises when a message is too long for a datagram, or when nobody listens."""
        try:
            connected = self._socket or self._connect()
            for place, message in enumerate(batch):
                data = frame(message, facility=self._facility, host=self._origin)
                if len(data) > LARGEST_DATAGRAM:
                    raise RefusedError(f"{len(data):,} bytes are too long for UDP", done=place, at=place)
                try:
                    connected.send(data)
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    raise RefusedError(f"{len(data):,} bytes are too long for UDP", done=place, at=place) from error
            if fault := connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(fault, os.strerror(fault))  # noqa: TRY301  # handled like the others below
        except OSError as error:
            self.close()
            raise RetryableError(f"syslog at {_address(self._where)} by UDP: {error}") from error

    def _connect(self) -> socket.socket:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._where, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        self._socket = made
        return made

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class StreamSyslog(Delivery):
    """Sends over one connection, by TCP or, with a `context`, by TLS; reconnects when it was lost.

    An attempt takes no longer than `timeout_s`, however slowly the receiver reads.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext | None = None,
        facility: int = 13,
        origin: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._where = (host, port)
        self._context = context
        self._facility = facility
        self._origin = origin or socket.gethostname()
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None
        self._recent: deque[bytes] = deque()
        self._recent_bytes = 0

    def deliver(self, batch: Sequence[Message]) -> None:
        """Send the batch and wait until the receiver's machine has all of it."""
        until = time.monotonic() + self._timeout_s
        frames = []
        for message in batch:
            data = frame(message, facility=self._facility, host=self._origin)
            frames.append(str(len(data)).encode() + b" " + data)
        try:
            connection = self._ready(until)
            send_all(connection, b"".join(frames), until)
            self._settle(connection, until)
        except OSError as error:  # includes TLS errors
            self._lost(error)
            raise RetryableError(f"syslog at {_address(self._where)}: {self._why(error)}") from error
        self._remember(frames)

    def _ready(self, until: float) -> socket.socket:
        """Return an open connection; a new one gets the last messages of the lost one first."""
        if self._connection is not None:
            try:
                ended = _ended(self._connection)
            except OSError as error:
                self._lost(error)
            else:
                if not ended:
                    return self._connection
                self._lost(BrokenPipeError())
        connection = self._connect(until)
        if self._recent:
            send_all(connection, b"".join(self._recent), until)
            self._settle(connection, until)
        return connection

    def _connect(self, until: float) -> socket.socket:
        plain = dial(*self._where, until)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made = plain
            if self._context is not None:
                # An end without a TLS close message may hide unread bytes, so it must count as a lost connection.
                made = self._context.wrap_socket(plain, server_hostname=self._where[0], suppress_ragged_eofs=False)
        except OSError:
            plain.close()
            raise
        self._connection = made
        return made

    def _settle(self, connection: socket.socket, until: float) -> None:
        """Wait until every byte is acknowledged; raises OSError when the connection ends or time is up."""
        while True:
            acknowledged = not unsent(connection)
            if _ended(connection):
                # It may have been closed before or after these bytes were read.
                raise BrokenPipeError(errno.EPIPE, "the receiver closed the connection during sending")
            if acknowledged:
                return
            time.sleep(min(left_s(until), 0.001))

    def _why(self, error: OSError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({error.verify_message}): set ca_file"
        if isinstance(error, TimeoutError):
            return f"not taken within {self._timeout_s:g} s"
        return str(error) or type(error).__name__

    def _remember(self, frames: Sequence[bytes]) -> None:
        self._recent.extend(frames)
        self._recent_bytes += sum(map(len, frames))
        while self._recent_bytes > RESENT_BYTES and len(self._recent) > 1:
            self._recent_bytes -= len(self._recent.popleft())

    def _forget(self) -> None:
        self._recent.clear()
        self._recent_bytes = 0

    def _lost(self, error: OSError) -> None:
        self._drop()
        if isinstance(error, BrokenPipeError):
            # Closed in order, and who leaves bytes unread resets instead: what was sent earlier was read.
            self._forget()

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the connection in order, so that the receiver reads to its end."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                if isinstance(self._connection, ssl.SSLSocket):
                    self._connection.settimeout(1.0)
                    self._connection = self._connection.unwrap()
                self._connection.shutdown(socket.SHUT_WR)
        self._drop()


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return the settings of TLS: the receiver must show a certificate for its name, from `ca_file` or the system's.

    Raises `ConfigError` when the file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca_file}: cannot read the certificate: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unsent(connection: socket.socket) -> int:
    """Return how many bytes the other machine has not acknowledged; 0 where the system does not tell."""
    try:
        import fcntl  # noqa: PLC0415  # not everywhere
        import termios  # noqa: PLC0415

        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except (ImportError, OSError):
        return 0


def _ended(connection: socket.socket) -> bool:
    """Return whether the other end has closed; raises OSError after a reset. Discards what the receiver sends."""
    before = connection.gettimeout()
    connection.settimeout(0.0)
    try:
        for _ in range(_MOST_READ // 4096):  # bounded, since a receiver may send without end
            if not connection.recv(4096):
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connection.settimeout(before)
    return False


def _address(where: tuple[str, int]) -> str:
    return f"{where[0]}:{where[1]}"


def _build(section: SyslogSection) -> Receiver:
    name, _, digits = section.address.rpartition(":")
    host, port, facility = name.strip("[]"), int(digits), section.facility
    context = trusting(section.ca_file) if section.transport == "tls" else None

    def way() -> Delivery:
        if section.transport == "udp":
            return UdpSyslog(host, port, facility=facility)
        return StreamSyslog(host, port, context=context, facility=facility, timeout_s=section.timeout_seconds)

    return Receiver(section, rendered(encoder(section.format)), way, AT_ONCE)


SINK = SinkKind(SyslogSection, _build)
