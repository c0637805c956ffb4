"""Tokens: where they come from, when they are renewed, what is said where there are none, and that a real broker takes them."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs

import pytest
from kafka import TopicPartition
from pydantic import SecretStr, ValidationError

from detector.config import KafkaSection, OAuthSection
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.oauth import Tokens, expiry_s, read_token
from detector.service.kafka.transaction import transactional
from tests.servers.kafka import LocalBroker
from tests.service.clients import on_both

Client: TypeAlias = Literal["auto", "confluent", "kafka-python"]
SECRET = "hush: a%b"
LOGIN = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
LISTENER = "listener.name.sasl_ssl.oauthbearer"


def jws(life_s: float = 3600, owner: str = "detector") -> str:
    """Return a token without signature, which a broker takes that is set up for trials."""
    now = int(time.time())
    claims = {"sub": owner, "iat": now, "exp": now + life_s}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)]
    return ".".join([*parts, ""])


class Provider:
    """An identity provider that knows one client, and answers as a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200
        self.answer: dict[str, Any] | bytes = {}
        self.elsewhere: str | None = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                provider.asked.append(form | {"login": [base64.b64decode(self.headers["Authorization"][6:]).decode()]})
                self.send_response(provider.status)
                if provider.elsewhere is not None:
                    self.send_header("Location", provider.elsewhere)
                self.end_headers()
                answer = provider.answer
                self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

            def log_message(self, *_about: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def section(self, **changes: Any) -> OAuthSection:
        known: dict[str, Any] = {"token_url": self.url, "client_id": "det/1", "client_secret": SecretStr(SECRET)}
        return OAuthSection(**known | changes)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_provider_is_asked_as_the_standard_says(provider: Provider) -> None:
    """Grant and scope in the form; id and secret, percent-encoded, in the header and nowhere else."""
    provider.answer = {"access_token": "one", "expires_in": 100}
    assert Tokens(provider.section(scope="kafka read")).token() == "one"
    assert provider.asked == [
        {"grant_type": ["client_credentials"], "scope": ["kafka read"], "login": ["det%2F1:hush%3A+a%25b"]}
    ]


def test_a_token_is_kept_until_most_of_its_life_is_over(provider: Provider) -> None:
    """Nobody is asked before 80 % of its life; while the provider is away the old one serves to its end, and no longer."""
    clock = Clock()
    tokens = Tokens(provider.section(), clock)
    provider.answer = {"access_token": "one", "expires_in": 100}
    assert tokens.token() == "one"
    clock.now_s += 79
    provider.answer = {"access_token": "two", "expires_in": 100}
    assert (tokens.token(), len(provider.asked)) == ("one", 1)
    clock.now_s += 1
    assert (tokens.token(), len(provider.asked)) == ("two", 2)
    clock.now_s += 99
    provider.status = 503
    assert tokens.token() == "two"
    clock.now_s += 1
    with pytest.raises(ServiceError, match="status 503: it may be out of order"):
        tokens.token()


def test_the_token_itself_may_say_how_long_it_lives(provider: Provider) -> None:
    """Without `expires_in` the token's own claim counts."""
    token = jws(life_s=1000)
    clock = Clock()
    clock.now_s = time.time()
    provider.answer = {"access_token": token}
    tokens = Tokens(provider.section(), clock)
    assert [tokens.token(), tokens.token()] == [token, token]
    clock.now_s += 700
    tokens.token()
    assert len(provider.asked) == 1
    clock.now_s += 200
    tokens.token()
    assert len(provider.asked) == 2


@pytest.mark.parametrize("token", ["a.b.c", "....", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.W10.c", "opaque"])
def test_a_token_that_does_not_tell_its_end(token: str) -> None:
    """Whatever it is, it is no error."""
    assert expiry_s(token) is None


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": "invalid_client", "error_description": "no such client"}, r"refuses us \(invalid_client: no such"),
        (400, b"<html>", r"refuses us \(status 400\): check \[kafka.oauth\] client_id, client_secret and scope"),
        (404, b"", r"status 404: check \[kafka.oauth\] token_url"),
        (500, b"[]", "status 500: it may be out of order"),
        (200, b"<html>", "answers without a token"),
        (200, {"access_token": 5}, "answers without a token"),
        (200, {"access_token": "x\r\ny"}, "answers without a token"),
        (200, {"access_token": "x", "expires_in": "soon"}, "answers without a token"),
    ],
)
def test_refusals_of_the_provider_are_told(provider: Provider, status: int, answer: Any, words: str) -> None:
    """Each has its sentence with the setting to change, and none of them tells the secret."""
    provider.status, provider.answer = status, answer
    with pytest.raises(ServiceError, match=words) as refused:
        Tokens(provider.section()).token()
    assert "hush" not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_the_secret_is_sent_to_no_other_address(provider: Provider) -> None:
    """A redirect is not followed."""
    other = Provider()
    provider.status, provider.elsewhere = 302, other.url
    with pytest.raises(ServiceError, match=r"redirects \(status 302\): set \[kafka.oauth\] token_url"):
        Tokens(provider.section()).token()
    other.server.shutdown()
    other.server.server_close()
    assert other.asked == []


def test_a_provider_that_is_away_is_told(provider: Provider) -> None:
    """The address and the setting are named."""
    provider.server.shutdown()
    provider.server.server_close()
    with pytest.raises(ServiceError, match=rf"{provider.url} cannot be reached .* check \[kafka.oauth\] token_url"):
        Tokens(provider.section()).token()


def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    """A renewed token is taken up; a file without one is named."""
    file = tmp_path / "token"
    tokens = Tokens(OAuthSection(token_file=file, extensions={"logicalCluster": "lkc-1"}))
    for token in ("one", "two"):
        file.write_text(token + "\n")
        assert tokens.token() == token
    assert tokens.extensions() == {"logicalCluster": "lkc-1"}
    for content in (b"", b"\xff", b"two words"):
        file.write_bytes(content)
        with pytest.raises(ServiceError, match="holds no token"):
            read_token(file)
    file.unlink()
    with pytest.raises(ServiceError, match=r"token_file .* cannot be read: No such file"):
        tokens.token()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_url": "http://idp.example/token"}, "must be https"),
        ({"token_url": "https://a:b@idp.example/token"}, "without a login"),
        ({"token_url": "idp.example"}, "write it as https://host/path"),
        ({"token_url": "https://idp.example/token"}, "needs client_id and client_secret"),
        ({"token_url": "https://idp.example/token", "token_file": "t"}, "not both"),
        ({"client_secret": "a", "client_secret_file": "b"}, "not both"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], words: str) -> None:
    """Half a set of settings, two sources, or a secret sent in the clear."""
    with pytest.raises(ValidationError, match=words):
        OAuthSection(**settings)


def test_bearer_needs_a_token_and_no_user() -> None:
    """The section says which settings are missing."""
    with pytest.raises(ValidationError, match=r"set oauth\.token_file or oauth\.token_url"):
        KafkaSection(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")
    KafkaSection(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth=OAuthSection(token_file=Path("t")))


@pytest.fixture(scope="module")
def bearing(secured_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """Return a broker that takes tokens without signatures, and ends a session after some seconds."""
    settings = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        f"{LISTENER}.sasl.jaas.config": f'{LOGIN} required unsecuredLoginStringClaim_sub="broker";',
        f"{LISTENER}.connections.max.reauth.ms": "2000",
    }
    return secured_broker(**settings)


def _section(broker: LocalBroker, oauth: OAuthSection, client: Client = "auto") -> KafkaSection:
    return KafkaSection(
        client=client,
        bootstrap_servers=(broker.secure_bootstrap,),
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        ca_file=broker.ca_file,
        oauth=oauth,
    )


@pytest.mark.broker
def test_a_broker_takes_a_token_from_a_file(bearing: LocalBroker, tmp_path: Path) -> None:
    """All kinds of clients get in with it."""
    (tmp_path / "token").write_text(jws())
    made = Connection(_section(bearing, OAuthSection(token_file=tmp_path / "token")))
    with contextlib.closing(made.admin()) as admin:
        admin.create_topics({"log": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    with contextlib.closing(made.producer()) as producer:
        producer.send("log", value=b"a").get(timeout=30)
    with contextlib.closing(made.consumer()) as consumer:
        assert consumer.partitions_for_topic("log") == {0}


@pytest.mark.broker
@on_both()
def test_the_service_reads_and_writes_with_tokens(
    bearing: LocalBroker, provider: Provider, fresh_topic: Callable[[str], str], client: Client
) -> None:
    """Records and transactions go through, and go on when the broker ends the session and the token is renewed."""
    provider.answer = {"access_token": jws(), "expires_in": 2}
    made = Connection(_section(bearing, provider.section(), client))
    topic = fresh_topic("borne")
    with contextlib.closing(made.admin()) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    writer = made.writer(linger_ms=0)
    transactions = transactional(made, f"{topic}-t", lambda: None)
    reader = made.reader(max_poll_records=10, fetch_max_wait_ms=50)
    place = TopicPartition(topic, 0)
    reader.assign([place])
    before, found, sent = len(provider.asked), 0, 0
    until = time.monotonic() + 120
    while len(provider.asked) < before + 2 or found < sent:
        assert time.monotonic() < until
        if len(provider.asked) < before + 2:
            writer.send(topic, None, b"x").wait(30)
            transactions.begin()
            transactions.send(topic, None, b"y").wait(30)
            while not transactions.commit(1.0):
                assert time.monotonic() < until
            sent += 2
        found += len(reader.poll(100).get(place, ()))
    assert found == sent
    reader.close()
    writer.close(10)
    transactions.drop()


@pytest.mark.broker
def test_a_session_outlives_its_token(bearing: LocalBroker, provider: Provider) -> None:
    """The client logs in anew before the session ends, with a new token, and goes on."""
    provider.answer = {"access_token": jws(), "expires_in": 1}
    made = Connection(_section(bearing, provider.section()))
    with contextlib.closing(made.admin()) as admin:
        before = len(provider.asked)
        until = time.monotonic() + 60
        while len(provider.asked) < before + 2 and time.monotonic() < until:
            admin.list_topics()
            time.sleep(0.05)
        admin.list_topics()
    assert len(provider.asked) >= before + 2


@pytest.mark.broker
@pytest.mark.parametrize("token", [jws(life_s=-600), "e30.e30.", "opaque"], ids=["old", "empty", "opaque"])
def test_a_bad_token_is_told(bearing: LocalBroker, tmp_path: Path, token: str) -> None:
    """One that has expired, tells nothing or is none: the sentence names the setting and not the token."""
    (tmp_path / "token").write_text(token)
    with pytest.raises(ServiceError) as refused:
        Connection(_section(bearing, OAuthSection(token_file=tmp_path / "token"))).admin()
    assert "answers but refuses our token: check [kafka.oauth] token_file" in str(refused.value)
    assert token not in str(refused.value)


@pytest.mark.broker
def test_no_token_is_told(bearing: LocalBroker, provider: Provider) -> None:
    """Where the identity provider refuses us, that is what is told, and not that the broker does."""
    provider.status, provider.answer = 401, {"error": "invalid_client"}
    with pytest.raises(ServiceError, match=r"identity provider at .* refuses us"):
        Connection(_section(bearing, provider.section())).admin()


@pytest.mark.broker
def test_an_untrusted_provider_is_told(bearing: LocalBroker) -> None:
    """A certificate that nobody vouches for leads to ca_file; with it, one gets as far as the answer."""
    section = {"token_url": f"https://{bearing.secure_bootstrap}/", "client_id": "a", "client_secret": SecretStr(SECRET)}
    with pytest.raises(ServiceError, match=r"not trusted \(.*\): set \[kafka.oauth\] ca_file"):
        Tokens(OAuthSection(**section)).token()
    with pytest.raises(ServiceError, match="cannot be reached"):
        Tokens(OAuthSection(**section, ca_file=bearing.ca_file)).token()
