"""The connection to Elasticsearch: one place that turns settings into a client.

The client's own time limit is per read, and it takes answers of any size: so its connections are those of `detector.exchange`,
with one deadline for a request and a limit for the answer.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elastic_transport import NodeConfig, TransportError, Urllib3HttpNode
from elasticsearch import ApiError, Elasticsearch

from detector.config import ElasticsearchSection
from detector.errors import ConfigError
from detector.exchange import PlainConnection, TlsConnection
from detector.sinks.elastic.faults import explain

LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; to 500 documents, each refused at length, comes less than 2 MB


class _Plain(PlainConnection):
    largest = LARGEST_ANSWER


class _Tls(TlsConnection):
    largest = LARGEST_ANSWER


class _Node(Urllib3HttpNode):
    """One server; its connections have a deadline, and its answers a largest size."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool.ConnectionCls = _Tls if config.scheme == "https" else _Plain


def connect(section: ElasticsearchSection) -> Elasticsearch:
    """Return a client; nothing is sent yet. It tries everything once: who uses it knows better when to try again.

    Raises `ConfigError` when there is no address, or a secret or certificate cannot be read.
    """
    if not section.hosts:
        raise ConfigError("[elasticsearch] hosts is not set: name the server there or in DETECTOR_ELASTICSEARCH__HOSTS")
    settings: dict[str, Any] = {}
    if any(host.startswith("https") for host in section.hosts):
        settings["ssl_context"] = trusting(section)
    if section.keyed:
        settings["api_key"] = section.secret()
    elif section.username is not None:
        settings["basic_auth"] = (section.username, section.secret() or "")
    return Elasticsearch(
        list(section.hosts),
        node_class=_Node,
        max_retries=0,
        retry_on_timeout=False,
        request_timeout=section.timeout_seconds,
        **settings,
    )


def trusting(section: ElasticsearchSection) -> ssl.SSLContext:
    """Return what decides whose certificates are trusted.

    Raises `ConfigError` when the file of the authority cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=section.ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{section.ca_file}: holds no certificate in PEM form") from error
    except OSError as error:
        raise ConfigError(f"{section.ca_file}: cannot read the certificate: {error.strerror}") from error


@contextmanager
def explained(section: ElasticsearchSection) -> Iterator[None]:
    """Turn what the client raises into an `ElasticError`."""
    try:
        yield
    except (ApiError, TransportError) as error:
        raise explain(section, error) from error
