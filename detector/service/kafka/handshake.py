"""Probing a broker step by step, to find out why it cannot be used: the Kafka client itself hides the cause.

The steps are those of any client: connection, TLS, choice of a SASL mechanism, login, a first request. Each step has its own
error message, which names the setting to change.
"""

import socket
import ssl
import struct
from typing import Any, NamedTuple

from kafka.errors import KafkaError, for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import MetadataRequest, MetadataResponse
from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

from detector.config import KafkaSection
from detector.errors import NotKafkaError, ServiceError

CONNECT_S = 5.0
STEP_S = 10.0
LONGEST_ANSWER = 1 << 24
TLS_ALERT = b"\x15\x03"


class Fault(NamedTuple):
    """Why a broker cannot be used, and whether anything answers at its address."""

    sentence: str
    answers: bool


def fault(section: KafkaSection, where: str, login: dict[str, Any]) -> Fault | None:
    """Return why the broker at `where` cannot be used, None where it can; `login` are the SASL mechanism's arguments."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or not host:
        return Fault(f"Kafka address {where!r} lacks a port: write [kafka] bootstrap_servers as host:9092", answers=False)
    try:
        context = ssl.create_default_context(cafile=section.ca_file)
    except (OSError, ssl.SSLError) as error:
        cause = error.strerror or error
        return Fault(
            f"[kafka] ca_file {section.ca_file} cannot be used ({cause}): name a PEM file of certificates", answers=False
        )
    try:
        line = socket.create_connection((host, int(port)), timeout=CONNECT_S)
    except (OSError, OverflowError) as error:
        return Fault(_unreachable(where, host, error), answers=False)
    with line:
        line.settimeout(STEP_S)
        said = _talk(section, where, line, login, context if section.security_protocol.endswith("SSL") else None)
    return None if said is None else Fault(said, answers=True)


def _unreachable(where: str, host: str, error: Exception) -> str:
    match error:
        case socket.gaierror():
            return f"Kafka at {where}: the host name {host!r} is unknown: check [kafka] bootstrap_servers"
        case ConnectionRefusedError():
            return f"Kafka at {where}: nothing listens there: check [kafka] bootstrap_servers, and that the broker runs"
    return f"Kafka at {where} cannot be reached ({error}): check [kafka] bootstrap_servers"


def _talk(
    section: KafkaSection, where: str, line: socket.socket, login: dict[str, Any], context: ssl.SSLContext | None
) -> str | None:
    """Encrypt the connection and log in, as configured, and send a first request."""
    host = where.rpartition(":")[0].strip("[]")
    try:
        with line if context is None else context.wrap_socket(line, server_hostname=host) as covered:
            if section.security_protocol.startswith("SASL") and (refused := _login(section, where, covered, login)):
                return refused
            _ask(covered, MetadataRequest(topics=[]), MetadataResponse, version=4)
    except ssl.SSLCertVerificationError as error:
        return (
            f"Kafka at {where}: its certificate is not trusted ({error.verify_message}): set [kafka] ca_file to the "
            "certificate of the authority that signed it"
        )
    except ssl.SSLError as error:
        return (
            f"Kafka at {where} does not speak TLS on this port ({error.reason}): check the port in [kafka] bootstrap_servers "
            "and security_protocol"
        )
    except (NotKafkaError, struct.error, ValueError) as error:
        return f"what listens at {where} is no Kafka broker ({error}): check the port in [kafka] bootstrap_servers"
    except ServiceError as error:  # there is no token to log in with
        return str(error)
    except TimeoutError:
        return f"what listens at {where} does not answer: check the port in [kafka] bootstrap_servers"
    except (OSError, EOFError):
        wants = "want neither TLS nor SASL" if section.security_protocol != "PLAINTEXT" else "want TLS or SASL"
        if section.security_protocol == "SSL":
            wants = "want a login, too (SASL_SSL)"
        return (
            f"Kafka at {where} closes the connection on {section.security_protocol}: does this port {wants}? "
            "See [kafka] security_protocol, and the port in bootstrap_servers"
        )
    return None


def _login(section: KafkaSection, where: str, line: socket.socket, login: dict[str, Any]) -> str | None:
    name = section.sasl_mechanism
    answer = _ask(line, SaslHandshakeRequest(mechanism=name), SaslHandshakeResponse, version=1)
    if answer.error_code:
        offered = ", ".join(answer.mechanisms)
        if not offered:
            raise EOFError  # like a closed connection: this port has no login
        return f"Kafka at {where} does not know {name}: set [kafka] sasl_mechanism to one of {offered}"
    mechanism = get_sasl_mechanism(name)(host=where, **login)
    try:
        while not mechanism.is_done():
            request = SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes())
            answer = _ask(line, request, SaslAuthenticateResponse, version=1)
            if answer.error_code:
                return _refused(section, where, answer.error_message or for_code(answer.error_code).__name__)
            mechanism.receive(answer.auth_bytes)
    except (KafkaError, ValueError) as error:  # the broker did not prove that it knows the password
        return _refused(section, where, str(error))
    except (EOFError, ConnectionError):
        return _refused(section, where, "it closes the connection")
    return None


def _refused(section: KafkaSection, where: str, said: str) -> str:
    if section.sasl_mechanism == "OAUTHBEARER":
        source = "token_file" if section.oauth.token_file is not None else "token_url, scope and extensions"
        return f"Kafka at {where} answers but refuses our token: check [kafka.oauth] {source} ({said})"
    return (
        f"Kafka at {where} answers but refuses user {section.username!r} by {section.sasl_mechanism}: check [kafka] username, "
        f"password (or password_file) and sasl_mechanism ({said})"
    )


def _ask(line: socket.socket, request: Any, answer: Any, *, version: int) -> Any:
    """Send a request and return the answer; raises `EOFError` where there is none, `NotKafkaError` where it is not Kafka's."""
    request.API_VERSION = version
    request.with_header(correlation_id=1, client_id="detector")
    line.sendall(request.encode(version=version, header=True, framed=True))
    head = _read(line, 4)
    if head.startswith(TLS_ALERT):
        raise EOFError
    size = int.from_bytes(head, "big")
    if size > LONGEST_ANSWER:
        raise NotKafkaError("its answer is longer than any of Kafka's")
    return answer.decode(_read(line, size), version=version, header=True)


def _read(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = line.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found
