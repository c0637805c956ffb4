"""Logs: their form, and what must never be in them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from detector.service.telemetry import logs

PASSWORD = 'pa"ss\\wörd'


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Undo what a test set up for the process."""
    libraries = [logging.getLogger(name) for name in (logs.CLIENT_LIBRARY, *logs.OTHER_LIBRARIES, logs.NOISE)]
    before = [(library.handlers, library.level, library.propagate) for library in libraries]
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)  # records here are looked at as the client makes them
    yield
    logging.setLogRecordFactory(factory)
    for library, (handlers, level, propagate) in zip(libraries, before, strict=True):
        library.handlers, library.level, library.propagate = handlers, level, propagate
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_one_json_object_a_line() -> None:
    """Event, level, time and fields are there, also with line ends and bytes in them."""
    out = io.StringIO()
    logs.configure(stream=out)
    structlog.get_logger("x").warning("two\nlines", cause="ü", raw=b"\xff", number=3)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["cause"], line["number"]) == ("two\nlines", "warning", "ü", 3)
    assert line["timestamp"].endswith("Z")


def test_readable_on_a_terminal() -> None:
    """A terminal gets words, not JSON."""
    out = Terminal()
    logs.configure(stream=out)
    structlog.get_logger("x").info("worker starts", stage="all")
    assert "worker starts" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_clients_are_digested_at_the_default_level() -> None:
    """The same client has the same digest, another seed another one, and debug shows the id."""
    digests = []
    for seed in (1, 1, 2):
        out = io.StringIO()
        logs.configure(stream=out, seed=seed)
        structlog.get_logger("x").info("blocked", client="acme")
        assert "acme" not in out.getvalue()
        digests.append(lines(out)[0]["client"])
    assert digests[0] == digests[1] != digests[2]
    out = io.StringIO()
    logs.configure("debug", stream=out)
    structlog.get_logger("x").debug("blocked", client="acme")
    assert lines(out)[0]["client"] == "acme"


def test_levels() -> None:
    """What is below the level is not written; the Kafka client speaks from warning on, at debug, too."""
    out = io.StringIO()
    logs.configure("debug", stream=out)
    structlog.get_logger("x").debug("ours")
    logging.getLogger("kafka.net").info("theirs")
    logging.getLogger("kafka.net").warning("their %s", "warning")
    logs.configure("error", stream=out)
    structlog.get_logger("x").warning("hidden")
    logging.getLogger("kafka.net").warning("hidden")
    assert [(line["event"], line["level"]) for line in lines(out)] == [("ours", "debug"), ("their warning", "warning")]
    assert lines(out)[1]["logger"] == "kafka.net"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_passwords_never_appear(kind: type[io.StringIO]) -> None:
    """Neither in messages nor fields nor tracebacks nor the client library's lines, in any form a renderer gives them."""
    out = kind()
    logs.configure("debug", stream=out, secrets=[PASSWORD, None, ""])
    log = structlog.get_logger("x")
    log.info("user u with %s", PASSWORD, settings={"password": PASSWORD}, client=PASSWORD)
    logging.getLogger("kafka.sasl").warning("refused %r", {"sasl_plain_password": PASSWORD})
    try:
        json.loads("{}")[PASSWORD]
    except KeyError:
        log.exception("failed")
        logging.getLogger("kafka.sasl").exception("failed")
    text = out.getvalue()
    assert "KeyError" in text
    assert logs.MASK in text
    for form in (PASSWORD, json.dumps(PASSWORD)[1:-1], repr(PASSWORD)[1:-1], "wörd", "w\\u00f6rd"):
        assert form not in text


@pytest.mark.parametrize("before", ["Bearer ", "\n", '{"access_token":"', ""])
def test_tokens_never_appear(before: str) -> None:
    """A JSON Web Token is cut out wherever it stands, since nobody can name it beforehand; other words stay."""
    out = io.StringIO()
    logs.configure(stream=out)
    logging.getLogger("kafka.sasl").warning("refused %s", before + "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln-_ at a.b.c")
    text = out.getvalue()
    assert "eyJ" not in text
    assert "c2ln" not in text
    assert "*** at a.b.c" in text


def test_setting_up_again_does_not_double_lines() -> None:
    """The client library's lines come once, however often logging was set up."""
    out = io.StringIO()
    for _ in range(3):
        logs.configure(stream=out)
    logging.getLogger("kafka").warning("once")
    assert len(lines(out)) == 1


def test_a_library_that_repeats_itself_is_heard_once_a_minute() -> None:
    """Lines that differ in numbers only are one kind; the next that passes says how many were kept back; others are heard."""
    now = [0.0]
    rarely = logs.Rarely(lambda: now[0])

    def said(name: str, text: str, *given: object) -> str | None:
        record = logging.LogRecord(name, logging.WARNING, "", 0, text, given, None)
        return record.getMessage() if rarely.filter(record) else None

    assert said("kafka.a", "Topic %s-%d is gone (0x%x)", "log", 1, 255) == "Topic log-1 is gone (0xff)"
    for attempt in range(400):
        now[0] += 0.1
        assert said("kafka.a", "Topic %s-%d is gone (0x%x)", "log", attempt, attempt) is None
    assert said("kafka.b", "Topic log-1 is gone (0xff)") == "Topic log-1 is gone (0xff)"
    assert said("kafka.a", "Topic other-1 is gone (0xff)") == "Topic other-1 is gone (0xff)"
    now[0] += logs.SAME_S
    assert (
        said("kafka.a", "Topic log-2 is gone (0x1)")
        == "Topic log-2 is gone (0x1) (repeated 400 times since it was last logged)"
    )
    now[0] += logs.SAME_S
    assert said("kafka.a", "Topic log-2 is gone (0x1)") == "Topic log-2 is gone (0x1)"


def test_kinds_are_not_remembered_without_end() -> None:
    """Lines that hold names from outside, each another one, take no memory."""
    rarely = logs.Rarely(lambda: 0.0)
    for number in range(3 * logs.MOST_KINDS):
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        rarely.filter(logging.LogRecord("kafka", logging.WARNING, "", 0, name, (), None))
    assert len(rarely._kinds) == logs.MOST_KINDS


def test_a_slow_turn_of_the_client_is_no_news() -> None:
    """The client's warning of its own loop is not seen, an error from there is, and HTTP libraries are silent."""
    out = io.StringIO()
    logs.configure(stream=out)
    noisy = logging.getLogger(logs.NOISE)
    noisy.warning("Task %r ran for %.3fs. It is blocking the event loop", "x", 0.2)
    noisy.error("broken")
    logging.getLogger("urllib3.connectionpool").warning("Failed to parse headers (url=https://h/secret)")
    logging.getLogger("elastic_transport.node_pool").warning("Node has failed")
    assert [line["event"] for line in lines(out)] == ["broken"]
