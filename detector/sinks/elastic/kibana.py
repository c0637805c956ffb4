"""Kibana: dashboards and a detection rule with its guide, put in place over its HTTP interface.

Every object has a fixed id, so installing again replaces what was installed and never makes a second one. Whether the rule is
switched on stays as its users set it.
"""

import base64
import json
import ssl
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from urllib3.exceptions import HTTPError

from detector.config import ElasticsearchSection
from detector.errors import ConfigError, ElasticError
from detector.exchange import Exchanges, cause_of
from detector.names import origin_of, printable
from detector.sinks.elastic.connection import trusting
from detector.sinks.elastic.install import ASSETS, InstallStep, says

OBJECTS: Final = "dashboards.ndjson"
RULE: Final = "rule.ndjson"
LARGEST_ANSWER: Final = 16 * 1024 * 1024  # bytes; an import answers with every object

_LOGIN = "[elasticsearch] username and password, or api_key"
_RIGHTS = "the role needs all privileges of Saved Objects Management and of Security rules"


def saved_objects() -> list[dict[str, Any]]:
    """Return the saved objects, in the order of the file.

    >>> sorted({entry["type"] for entry in saved_objects()})
    ['dashboard', 'index-pattern', 'search', 'visualization']
    """
    return [json.loads(line) for line in _text(OBJECTS).splitlines()]


def rule() -> dict[str, Any]:
    """Return the detection rule."""
    content: dict[str, Any] = json.loads(_text(RULE))
    return content


def _text(name: str) -> str:
    return (ASSETS / "kibana" / name).read_text(encoding="utf-8")


class Kibana:
    """Talks to a Kibana; the login is that of Elasticsearch. An address may end in ``/s/<space>``."""

    def __init__(self, url: str, section: ElasticsearchSection) -> None:
        """Describe it; raises `ConfigError` for what is no address."""
        parts = urlsplit(url)
        if not origin_of(url) or parts.query or parts.fragment:
            raise ConfigError("--kibana: write it as https://host:5601, without a login")
        self._url = url.rstrip("/")
        self._context: ssl.SSLContext | None = trusting(section) if parts.scheme == "https" else None
        self._section = section
        self._headers = {"kbn-xsrf": "true", "Accept": "application/json"}
        if section.keyed:
            self._headers["Authorization"] = f"ApiKey {section.secret()}"
        elif section.username is not None:
            pair = f"{section.username}:{section.secret()}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"

    def install(self, *, dry_run: bool = False) -> list[InstallStep]:
        """Put the dashboards and the rule in place, or with `dry_run` only say what that would change.

        Raises `ElasticError` when Kibana cannot be used.
        """
        return [*self._dashboards(dry_run=dry_run), self._rule(dry_run=dry_run)]

    def _dashboards(self, *, dry_run: bool) -> list[InstallStep]:
        wanted = saved_objects()
        names = [{"type": entry["type"], "id": entry["id"]} for entry in wanted]
        found = self._json("POST", "/api/saved_objects/_bulk_get", names)["saved_objects"]
        present = {(entry["type"], entry["id"]) for entry in found if "error" not in entry}
        if not dry_run:
            answer = self._upload("/api/saved_objects/_import?overwrite=true", OBJECTS, _text(OBJECTS))
            if not answer.get("success"):
                raise ElasticError(f"{self._where} does not take the dashboards: {_brief(answer.get('errors'))}", "setup")
        return [
            InstallStep(f"{entry['type']} {entry['id']}", "changed" if (entry["type"], entry["id"]) in present else "new")
            for entry in wanted
        ]

    def _rule(self, *, dry_run: bool) -> InstallStep:
        wanted = rule()
        place = "/api/detection_engine/rules"
        status, found = self._ask("GET", f"{place}?{urlencode({'rule_id': wanted['rule_id']})}")
        kept = {name: value for name, value in wanted.items() if name != "enabled"}
        what = f"detection rule {wanted['rule_id']}"
        if status == HTTPStatus.NOT_FOUND:
            if not dry_run:
                self._json("POST", place, wanted)
            return InstallStep(what, "new")
        self._must(status, found)
        if says(found, kept):
            return InstallStep(what, "as it should be")
        if not dry_run:
            self._json("PATCH", place, kept)
        return InstallStep(what, "changed")

    @property
    def _where(self) -> str:
        return f"Kibana at {self._url}"

    def _json(self, method: str, path: str, content: Any) -> dict[str, Any]:
        status, answer = self._ask(method, path, json.dumps(content).encode(), "application/json")
        self._must(status, answer)
        return answer

    def _upload(self, path: str, name: str, content: str) -> dict[str, Any]:
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body = f"{head}Content-Type: application/x-ndjson\r\n\r\n{content}\r\n--{mark}--\r\n".encode()
        status, answer = self._ask("POST", path, body, f"multipart/form-data; boundary={mark}")
        self._must(status, answer)
        return answer

    def _must(self, status: int, answer: Mapping[str, Any]) -> None:
        if status == HTTPStatus.UNAUTHORIZED:
            raise ElasticError(f"{self._where} refuses the login (401): check {_LOGIN}", "login")
        if status == HTTPStatus.FORBIDDEN:
            said = _brief(answer.get("message"))
            raise ElasticError(f"{self._where} does not let us do this (403): {_RIGHTS}; it says: {said}", "permission")
        if status >= HTTPStatus.BAD_REQUEST:
            raise ElasticError(f"{self._where} answers {status}: {_brief(answer.get('message', answer))}", "setup")

    def _ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = self._headers | ({} if content_type is None else {"Content-Type": content_type})
        exchanges = Exchanges(timeout_s=self._section.timeout_seconds, context=self._context, most=LARGEST_ANSWER, cut=False)
        try:
            answer = exchanges.ask(method, self._url + path, body, headers)
        except (OSError, HTTPError) as error:
            cause = cause_of(error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise ElasticError(
                    f"{self._where} has a certificate that is not trusted ({cause.verify_message}): set "
                    "[elasticsearch] ca_file",
                    "tls",
                ) from error
            raise ElasticError(f"{self._where} cannot be reached: {printable(str(cause), 300)}", "unreachable") from error
        finally:
            exchanges.close()
        try:
            content = json.loads(answer.body or b"{}")
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ElasticError(f"{self._where}: what answers there is not Kibana: check host and port", "setup")
        return answer.status, content


def _brief(content: Any) -> str:
    return printable(content if isinstance(content, str) else json.dumps(content), 300)
