"""HTTP/1.1 as the proxy of perturbation reads and writes it: messages parsed by httptools, and heads put together."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from detector.errors import DetectorError
from detector.perturb.exchange import Header, header

__all__ = ["MOST_REQUEST", "REASONS", "FaultError", "Message", "Parser", "head_of", "status_line"]

MOST_REQUEST: Final = 16 * 1024 * 1024  # bytes of a request
MOST_HEAD: Final = 64 * 1024  # bytes of the head of a request or a response
REASONS: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    408: b"Request Timeout",
    413: b"Content Too Large",
    503: b"Service Unavailable",
    502: b"Bad Gateway",
    504: b"Gateway Timeout",
}


@dataclass(slots=True)
class Message:
    """A request or a response as it is parsed."""

    method: str = ""
    target: bytes = b""
    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    head: int = 0  # bytes of names and values
    complete: bool = False
    headed: bool = False
    keeps: bool = True


class FaultError(DetectorError):
    """What is answered instead; it does not leave the proxy."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Parser:
    """Parses a side of a connection with httptools; complete messages wait in `ready`, the current one is `message`."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.message = Message()
        self.ready: deque[Message] = deque()
        self._parser = make(self)
        self.begun = False  # whether a message has begun that is not complete

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raises httptools' errors where they are no HTTP."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.message = Message()
        self.begun = True

    def on_url(self, url: bytes) -> None:
        self.message.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.message.head += len(name) + len(value)
        if self.message.head > MOST_HEAD:
            raise FaultError(400)
        self.message.headers.append((name, value))

    def on_headers_complete(self) -> None:
        message = self.message
        message.headed = True
        message.keeps = self._parser.should_keep_alive()
        if hasattr(self._parser, "get_method"):
            message.method = self._parser.get_method().decode("latin-1")
            length = header(message.headers, b"content-length")  # llhttp has seen that it is a number
            if length and int(length) > MOST_REQUEST:
                raise FaultError(413)  # before its body is sent: a connection closed in the middle resets, and says nothing
        else:
            message.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.message.body += body

    def on_message_complete(self) -> None:
        self.message.complete = True
        self.begun = False
        self.ready.append(self.message)


def head_of(line: bytes, headers: list[Header]) -> bytes:
    return line + b"\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %s" % (status, REASONS.get(status, b"OK" if status < 300 else b"Error"))
