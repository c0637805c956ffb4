"""Syslog to receivers that are slow, deaf, hang up or restart: what is framed can be read, and nothing is lost."""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts import parse_rfc3339
from detector.errors import ConfigError, RefusedError, RetryableError
from detector.sinks.message import Message
from detector.sinks.syslog import LARGEST_DATAGRAM, StreamSyslog, UdpSyslog, frame, trusting

# RFC 5424, section 6: HEADER SP STRUCTURED-DATA SP MSG, with no structured data.
SYSLOG = re.compile(rb"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)", re.DOTALL)


def texts(received: list[bytes]) -> list[bytes]:
    """Return the texts of messages, after checking what stands before them."""
    found = []
    for data in received:
        match = SYSLOG.fullmatch(data)
        assert match is not None
        found.append(match[7])
    return found


@given(st.binary(max_size=40), st.integers(0, 253_402_300_799_999), st.integers(0, 23), st.text(max_size=300))
def test_a_frame_is_a_message_of_rfc_5424(body: bytes, time_ms: int, facility: int, host: str) -> None:
    """Whatever the host is called, the parts can be read back."""
    match = SYSLOG.fullmatch(frame(Message("1", "decision", time_ms, "critical", body), facility=facility, host=host))
    assert match is not None
    assert int(match[1]) == 8 * facility + 2
    assert parse_rfc3339(match[2].decode()) == time_ms
    assert (match[4], match[6], match[7]) == (b"detector", b"decision", body)


def test_udp(make_message: Callable[..., Message]) -> None:
    """Each message is a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        sender = UdpSyslog("127.0.0.1", server.getsockname()[1])
        sender.deliver([make_message(i) for i in range(5)])
        assert texts([server.recv(70_000) for _ in range(5)]) == [b'{"n":%d}' % i for i in range(5)]
        sender.close()


def test_udp_refuses_what_no_datagram_holds(make_message: Callable[..., Message]) -> None:
    """The message that is too long is named, and those before it are through."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        sender = UdpSyslog("127.0.0.1", server.getsockname()[1])
        with pytest.raises(RefusedError, match="too long for UDP") as caught:
            sender.deliver([make_message(0), make_message(1, b"x" * LARGEST_DATAGRAM), make_message(2)])
        assert (caught.value.done, caught.value.at) == (1, 1)
        sender.close()


def test_udp_to_nobody_is_tried_again(make_message: Callable[..., Message]) -> None:
    """Where the machine says that nobody listens, the batch is not delivered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    sender = UdpSyslog("127.0.0.1", port)

    def insist() -> None:
        for i in range(100):
            sender.deliver([make_message(i)])

    with pytest.raises(RetryableError, match=f"127.0.0.1:{port}"):
        insist()
    sender.close()


@pytest.mark.parametrize("tls", [False, True])
def test_stream(
    make_message: Callable[..., Message],
    stream_receiver: Callable[..., Any],
    until: Callable[..., None],
    server_tls: ssl.SSLContext,
    ca_file: Path,
    tls: bool,
) -> None:
    """Over one connection, everything arrives once and in order, whatever bytes are in it."""
    server = stream_receiver(server_tls if tls else None)
    sender = StreamSyslog("127.0.0.1", server.port, context=trusting(ca_file) if tls else None)
    bodies = [b"7 <1>\n", "ü€\n".encode(), b"x" * 100_000, *(b"%d" % i for i in range(300))]
    messages = [make_message(i, body) for i, body in enumerate(bodies)]
    for at in range(0, len(messages), 50):
        sender.deliver(messages[at : at + 50])
    sender.close()
    until(lambda: len(server.received) == len(bodies))
    assert texts(server.received) == bodies
    assert server.connections == 1


def test_a_certificate_of_somebody_else_is_refused(
    make_message: Callable[..., Message], stream_receiver: Callable[..., Any], server_tls: ssl.SSLContext
) -> None:
    """Without the authority's certificate nothing is sent, and the error says what to set."""
    server = stream_receiver(server_tls)
    sender = StreamSyslog("127.0.0.1", server.port, context=trusting(None))
    with pytest.raises(RetryableError, match=r"not trusted.*set ca_file"):
        sender.deliver([make_message(1)])
    sender.close()
    assert server.received == []


def test_a_missing_certificate_file_is_told(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        trusting(tmp_path / "missing.pem")


def test_nobody_listens(make_message: Callable[..., Message], deaf_port: int) -> None:
    """The address is in the message."""
    with pytest.raises(RetryableError, match=f"127.0.0.1:{deaf_port}"):
        StreamSyslog("127.0.0.1", deaf_port).deliver([make_message(1)])


def push(sender: StreamSyslog, batch: list[Message]) -> None:
    """Deliver a batch, however often that takes."""
    for _ in range(1000):
        try:
            sender.deliver(batch)
        except RetryableError:
            continue
        return
    pytest.fail("it was not delivered")


@pytest.mark.parametrize("tls", [False, True])
def test_a_receiver_that_hangs_up_loses_nothing(
    make_message: Callable[..., Message],
    stream_receiver: Callable[..., Any],
    until: Callable[..., None],
    server_tls: ssl.SSLContext,
    ca_file: Path,
    tls: bool,
) -> None:
    """Connections are cut with messages unread, time and again; every message is read at last."""
    server = stream_receiver(server_tls if tls else None)
    server.hang_ups, server.hang_up_after = 2, 37
    sender = StreamSyslog("127.0.0.1", server.port, context=trusting(ca_file) if tls else None)
    sent = [b'{"n":%d}' % i for i in range(90)]
    for i in range(0, 90, 5):
        push(sender, [make_message(n) for n in range(i, i + 5)])

    def complete() -> bool:
        push(sender, [make_message(90)])  # the next one finds out that the last ones were not read
        return not server.hang_ups and set(sent) <= set(texts(list(server.received)))

    until(complete)
    sender.close()


def test_a_restarted_receiver_gets_everything_once(
    make_message: Callable[..., Message], stream_receiver: Callable[..., Any], until: Callable[..., None]
) -> None:
    """A receiver that reads all it was sent and ends in order gets nothing twice, and its successor the rest."""
    first = stream_receiver()
    sender = StreamSyslog("127.0.0.1", first.port)
    push(sender, [make_message(i) for i in range(20)])
    until(lambda: len(first.received) == 20)
    first.close()
    with pytest.raises(RetryableError):
        sender.deliver([make_message(20)])
    second = stream_receiver(port=first.port)
    push(sender, [make_message(i) for i in range(20, 40)])
    sender.close()
    until(lambda: len(second.received) == 20)
    assert texts(first.received + second.received) == [b'{"n":%d}' % i for i in range(40)]


def test_a_receiver_that_does_not_read_is_not_waited_for_without_end(
    make_message: Callable[..., Message], stream_receiver: Callable[..., Any], until: Callable[..., None]
) -> None:
    """What a receiver does not take in time is not delivered, and is sent again once it reads."""
    server = stream_receiver()
    server.reading.clear()
    large = [make_message(i, b"%07d" % i * 150_000) for i in range(12)]
    with pytest.raises(RetryableError):
        StreamSyslog("127.0.0.1", server.port, timeout_s=0.5).deliver(large)
    server.reading.set()
    sender = StreamSyslog("127.0.0.1", server.port, timeout_s=60.0)
    thread = threading.Thread(target=push, args=(sender, large))
    thread.start()
    thread.join(60)
    until(lambda: {message.body for message in large} <= set(texts(list(server.received))))
    sender.close()
