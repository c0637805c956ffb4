"""Error messages for Elasticsearch, which say what to do.

The delivery worker retries after each of these errors, so nothing is lost until an operator has acted on the message.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import ConnectionTimeout, SerializationError, TlsError
from elasticsearch import ApiError, UnsupportedProductError

from detector.config import ElasticsearchSection
from detector.errors import ElasticCause, ElasticError

_HOSTS = "[elasticsearch] hosts"
_RIGHTS = "create_doc, auto_configure and read on logs-detector.* and metrics-detector.*"
_REFUSED = ("Connection refused", "Errno 111", "Errno 61")
_UNKNOWN = ("Name or service not known", "nodename nor servname", "Failed to resolve", "getaddrinfo", "Name resolution")
_HUNG_UP = ("RemoteDisconnected", "closed connection without", "BadStatusLine", "reset by peer", "Connection aborted")
_LATE = "not done in time"
_OTHER_NAME = ("Hostname mismatch", "IP address mismatch", "doesn't match")


def explain(section: ElasticsearchSection, error: Exception) -> ElasticError:
    """Return the error for an exception of the client."""
    where = _where(section)
    if isinstance(error, UnsupportedProductError):
        return ElasticError(f"{where}: what answers there is not Elasticsearch: check host and port", "setup")
    if isinstance(error, ApiError):
        return _answered(section, error.status_code, *_fault(error.body))
    if isinstance(error, TlsError):
        return ElasticError(f"{where} {_about_tls(section, _causes(error))}", "tls")
    if isinstance(error, ConnectionTimeout):
        return ElasticError(f"{where} did not answer within {section.timeout_seconds:g} s", "timeout")
    if isinstance(error, TransportConnectionError):
        return ElasticError(f"{where}{_about_line(_causes(error))}", "unreachable")
    if isinstance(error, SerializationError):
        return ElasticError(f"{where} gives an answer that is not JSON: does a proxy stand in between?", "setup")
    if isinstance(error, (KeyError, TypeError, AttributeError)):
        return ElasticError(f"{where} gives an answer that is not Elasticsearch's: does a proxy stand in between?", "setup")
    return ElasticError(f"{where} cannot be used: {error}", "server")


def explain_item(section: ElasticsearchSection, status: int, fault: Mapping[str, Any]) -> ElasticError:
    """Return the error for one document of a bulk request."""
    return _answered(section, status, str(fault.get("type")), str(fault.get("reason")))


def _causes(error: BaseException) -> str:
    """Return the texts of an error and its causes: the client's own text names no cause."""
    causes = [error.__cause__, *getattr(error, "errors", ())]
    return "; ".join(dict.fromkeys(str(cause) for cause in (*causes, error) if cause is not None))


def _where(section: ElasticsearchSection) -> str:
    return f"Elasticsearch at {', '.join(section.hosts)}"


def _fault(body: Any) -> tuple[str, str]:
    """Return type and reason of an error response, of Elasticsearch or of a proxy before it."""
    found = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(found, Mapping):
        return str(found.get("type")), str(found.get("reason"))
    text = found if isinstance(found, str) else body if isinstance(body, str) else json.dumps(body, default=str)
    return "", re.sub(r"<[^>]*>|\s+", " ", text).strip()[:200]


def _answered(section: ElasticsearchSection, status: int, kind: str, reason: str) -> ElasticError:
    text, cause = _about_answer(section, status, kind, reason[:500])
    return ElasticError(f"{_where(section)} {text}", cause)


def _about_answer(section: ElasticsearchSection, status: int, kind: str, reason: str) -> tuple[str, ElasticCause]:
    who = "the API key" if section.keyed else f"user {section.username!r}"
    if status == 401 and section.keyed:
        return "refuses the API key (401): check [elasticsearch] api_key, and that it has not ended", "login"
    if status == 401 and section.username is None:
        return "wants a login (401): set [elasticsearch] username and password, or api_key", "login"
    if status == 401:
        return f"refuses {who} (401): check [elasticsearch] username and password", "login"
    if status == 403:
        return f"does not let {who} do this (403): the delivery needs {_RIGHTS}; it says: {reason}", "permission"
    if kind == "media_type_header_exception" or status == 406:
        client = "the one that speaks to both, pip install 'elasticsearch>=8.19,<9'"
        return f"is of an older major version than the installed client: install {client} (it says: {reason})", "version"
    if "unrecognized parameter" in reason:
        return f"is too old: version 8.13 or newer is needed ({reason})", "version"
    if status == 404:
        return f"has no data stream for this: run `detector siem install` ({reason})", "setup"
    if status == 429:
        return f"is busy (429): {reason}", "busy"
    if status == 400 and "HTTPS" in reason:
        return f"wants TLS: write https:// in {_HOSTS}", "tls"
    text = f"answers {status}{f' {kind}' if kind else ''}: {reason}"
    return (text, "server") if status >= 500 else (text, "setup")


def _about_tls(section: ElasticsearchSection, text: str) -> str:
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        return f"does not speak TLS on this port: write http:// in {_HOSTS}, or check the port"
    if any(words in text for words in _OTHER_NAME):
        return f"has a certificate for another name: write the name that it bears in {_HOSTS}"
    if "verify failed" in text:
        why = re.search(r"verify failed: ([^(]+)", text)
        cause = why[1].strip() if why else "unknown authority"
        if section.ca_file is None:
            return (
                f"has a certificate that is not trusted ({cause}): set [elasticsearch] ca_file to the certificate of the "
                "authority that signed it"
            )
        return f"has a certificate that {section.ca_file} did not sign ({cause}): set [elasticsearch] ca_file to the right one"
    return f"cannot be used over TLS: {text[:300]}"


def _about_line(text: str) -> str:
    if (large := re.search(r"the answer is (longer|compressed)[^'\")]*", text)) is not None:
        return f": {large[0]}: is it Elasticsearch?"
    if _LATE in text:
        return " did not take the request in time"
    if any(words in text for words in _REFUSED):
        return ": nothing listens there: check host and port, and that the server runs"
    if any(words in text for words in _UNKNOWN):
        return ": the host name is unknown"
    if any(words in text for words in _HUNG_UP):
        return ": the server closes the connection: does this port want https://, or is it another program's?"
    return f" cannot be reached: {text[:300]}"
