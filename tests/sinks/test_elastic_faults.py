"""What goes wrong has its sentence, and what was written so far is known."""

import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, Elasticsearch

from detector.config import ElasticsearchSection
from detector.contracts import to_json
from detector.errors import ConfigError, ElasticError
from detector.sinks.elastic import bulk as bulk_of
from detector.sinks.elastic.bulk import Bulk
from detector.sinks.elastic.connection import connect, explained
from detector.sinks.elastic.documents import ElasticDocument, documents
from detector.sinks.elastic.faults import explain
from detector.sinks.elastic.install import install
from detector.sinks.sample import sample_alert
from tests.servers.elastic import LocalElastic

NOW = "2026-05-04T10:31:08.000Z"


@contextmanager
def at(url: str, **settings: Any) -> Iterator[tuple[Elasticsearch, ElasticsearchSection]]:
    """Open a client."""
    section = ElasticsearchSection(hosts=(url,), **{"timeout_seconds": 30} | settings)
    with connect(section) as client:
        yield client, section


def made(number: int, namespace: str) -> list[ElasticDocument]:
    """Return so many alerts, without their samples."""
    return [documents("alert", to_json(sample_alert(alert_id=f"a{i}")), namespace, NOW)[0] for i in range(number)]


def said(client: Elasticsearch, section: ElasticsearchSection) -> ElasticError:
    """Ask for something and return the sentence of the failure."""
    with pytest.raises(ElasticError) as raised, explained(section):
        client.cluster.health()
    return raised.value


def test_nobody_listens() -> None:
    """A port without a listener, a host without an address, a port that says nothing."""
    with at("http://127.0.0.1:1") as (client, section):
        assert re.search(r"nothing listens there: check host and port", str(said(client, section)))
    with at("http://nowhere.invalid:9200") as (client, section):
        assert re.search(r"nowhere.invalid:9200: the host name is unknown", str(said(client, section)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with at(address, timeout_seconds=0.2) as (client, section):
            found = said(client, section)
    assert found.cause == "timeout"
    assert re.search(r"did not answer within 0.2 s", str(found))


def test_https_where_there_is_none(elastic: str) -> None:
    """TLS to a server without says which of the two to write."""
    with at(elastic.replace("http:", "https:")) as (client, section):
        found = said(client, section)
    assert found.cause == "tls"
    assert "does not speak TLS on this port: write http://" in str(found)


def test_a_client_of_a_later_major_version(elastic: str) -> None:
    """What the server answers to elasticsearch-py 9 says which one to install."""
    with at(elastic) as (client, section):
        later = {"Accept": "application/vnd.elasticsearch+json; compatible-with=9"}
        answer = client.transport.perform_request("GET", "/_cluster/health", headers=later)
        assert answer.meta.status == 400
        found = explain(section, ApiError("bad request", answer.meta, answer.body))
    assert found.cause == "version"
    assert "pip install 'elasticsearch>=8.19,<9'" in str(found)


@pytest.mark.parametrize(
    ("status", "body", "cause", "words"),
    [
        (429, {"error": {"type": "es_rejected_execution_exception", "reason": "full"}}, "busy", r"busy \(429\): full"),
        (503, "<html><b>down</b></html>", "server", "answers 503: down"),
        (404, {"error": {"type": "index_not_found_exception", "reason": "no"}}, "setup", "run `detector siem install`"),
        (400, "The plain HTTP request was sent to HTTPS port", "tls", "write https://"),
        (400, {"error": {"type": "x", "reason": "unrecognized parameter: [require_data_stream]"}}, "version", "8.13 or newer"),
    ],
)
def test_answers(status: int, body: Any, cause: str, words: str) -> None:
    """Each status has its sentence, whoever gave the answer."""
    meta: Any = type("Meta", (), {"status": status})()
    found = explain(ElasticsearchSection(hosts=("http://h:1",)), ApiError("message", meta, body))
    assert found.cause == cause
    assert re.search(words, str(found))


def test_no_template_no_data_stream(elastic: str) -> None:
    """Where nothing is installed nothing is written, least of all into an index that would be in the way later."""
    with at(elastic) as (client, section):
        stranger = ElasticDocument(f"logs-unknown.alert-t{uuid.uuid4().hex[:8]}", "a", b'{"@timestamp":"2026-01-01T00:00:00Z"}')
        outcome = Bulk(client, section).write([stranger])
        assert outcome.left == [0]
        assert "run `detector siem install`" in str(outcome.fault)
        assert not client.indices.exists(index=stranger.stream)


def test_a_pipeline_that_is_not_there(elastic: str) -> None:
    """A template that names one is at fault, not the documents: they are left to be tried again when it is mended."""
    name = f"logs-piped.t{uuid.uuid4().hex[:8]}"
    with at(elastic) as (client, section):
        settings = {"settings": {"index": {"default_pipeline": "nowhere"}}}
        common: dict[str, Any] = {"name": name, "index_patterns": [f"{name}-*"], "data_stream": {}, "priority": 600}
        client.indices.put_index_template(**common, template=settings)
        document = ElasticDocument(f"{name}-a", "a", b'{"@timestamp":"2026-01-01T00:00:00Z"}')
        outcome = Bulk(client, section).write([document])
        assert (outcome.left, outcome.refused) == ([0], {})
        assert "pipeline with id [nowhere] does not exist" in str(outcome.fault)
        client.indices.put_index_template(**common)
        assert Bulk(client, section).write([document]).written == 1


def test_part_of_a_request_at_a_time(elastic: str, faulty_proxy: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy or broken server took is counted once, what it did not is left, and the next attempt completes it."""
    monkeypatch.setattr(bulk_of, "CHUNK", 10)
    proxy = faulty_proxy(elastic)
    turns = count()
    proxy.fault = lambda _method, path: 429 if path.startswith("/_bulk") and next(turns) == 3 else None
    found = made(60, f"t{uuid.uuid4().hex[:8]}")
    with at(proxy.url) as (client, section):
        install(client)
        writer = Bulk(client, section)
        first = writer.write(found)
        assert (first.written, first.left) == (30, list(range(30, 60)))
        assert first.fault is not None
        assert first.fault.cause == "busy"
        second = writer.write(found, first.left)
        assert (second.written, second.repeated, second.left) == (30, 0, [])
        third = writer.write(found)
        assert (third.written, third.repeated) == (0, 60)


def test_a_limit_in_between(elastic: str, faulty_proxy: Callable[[str], Any]) -> None:
    """A proxy that takes only small requests gets smaller ones; the document that is too large alone is refused."""
    proxy = faulty_proxy(elastic)
    found = made(9, f"t{uuid.uuid4().hex[:8]}")
    large = found[4]
    found[4] = ElasticDocument(large.stream, large.id, large.source.replace(b'"message":"', b'"message":"' + b"x" * 40_000))
    proxy.longest = 20_000
    with at(proxy.url) as (client, section):
        install(client)
        outcome = Bulk(client, section).write(found)
    assert outcome.written == 8
    assert list(outcome.refused) == [4]
    assert outcome.left == []


def test_known_looks_into_every_index(elastic: str) -> None:
    """After a rollover, what lies in the former index is still known."""
    namespace = f"t{uuid.uuid4().hex[:8]}"
    found = made(3, namespace)
    with at(elastic) as (client, section):
        install(client)
        writer = Bulk(client, section)
        assert writer.known(found) == set()
        assert writer.write(found[:2]).written == 2
        client.indices.rollover(alias=found[0].stream)
        client.indices.refresh(index=found[0].stream)
        assert writer.known(found) == {0, 1}
        assert isinstance(client.cluster.health(), ObjectApiResponse)


@pytest.mark.slow
def test_an_index_that_cannot_be_asked_does_not_count_as_empty(local_elastic: Callable[..., LocalElastic]) -> None:
    """While a former index is not back, nobody says that its documents are unknown: they would be written again."""
    found = made(2, "default")
    node = local_elastic()
    with at(node.url) as (client, section):
        install(client)
        assert Bulk(client, section).write(found).written == 2
        [(former, about)] = client.indices.get(index=found[0].stream).items()
        client.indices.rollover(alias=found[0].stream)
    node.kill()
    shutil.rmtree(node.folder / "data" / "indices" / about["settings"]["index"]["uuid"])
    node.start()
    with at(node.url) as (client, section):
        [write_index] = [name for name in client.indices.get(index=found[0].stream) if name != former]
        client.cluster.health(index=write_index, wait_for_status="yellow", timeout="60s")
        with pytest.raises(ApiError) as raised:
            Bulk(client, section).known(found)
        assert raised.value.status_code == 503


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hosts": ("h:9200",)}, "scheme and port"),
        ({"hosts": ("http://u:secret@h:9200",)}, "no user and password"),
        ({"hosts": ("http://h:1",), "username": "u"}, "go together"),
        ({"hosts": ("http://h:1",), "api_key": "k", "username": "u", "password": "p"}, "not both"),
        ({"hosts": ("http://h:1",), "api_key": "k", "api_key_file": "f"}, "not both"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    """Each is refused, and no secret is repeated."""
    with pytest.raises(ValueError, match=words) as raised:
        ElasticsearchSection(**settings)
    assert "secret" not in raised.value.errors()[0]["msg"]  # type: ignore[attr-defined]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing secret or a certificate that is none is told by the name of its file."""
    with pytest.raises(ConfigError, match="hosts is not set"):
        connect(ElasticsearchSection())
    with pytest.raises(ConfigError, match="nothing-here: cannot read the API key"):
        connect(ElasticsearchSection(hosts=("http://h:1",), api_key_file=tmp_path / "nothing-here"))
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"ca.pem: holds no certificate"):
        connect(ElasticsearchSection(hosts=("https://h:1",), ca_file=tmp_path / "ca.pem"))
