"""The connection to Elasticsearch: settings become a client here.

The client's own timeout applies to each read, and it accepts responses of any size. So its connections come from
`detector.exchange`, with one deadline per request and a size limit for the response.
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

LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; a response that refuses 500 documents at length is below 2 MB


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
    """Return a client; nothing is sent yet. It never retries, since its caller decides when to try again.

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
    """Return the TLS settings that decide which certificates are trusted.

    Raises `ConfigError` when the CA file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=section.ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{section.ca_file}: holds no certificate in PEM form") from error
    except OSError as error:
        raise ConfigError(f"{section.ca_file}: cannot read the certificate: {error.strerror}") from error


@contextmanager
def explained(section: ElasticsearchSection) -> Iterator[None]:
    """Turn errors of the client into an `ElasticError`."""
    try:
        yield
    except (ApiError, TransportError) as error:
        raise explain(section, error) from error
