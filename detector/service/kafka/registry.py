"""Records of a schema registry (Confluent's wire format): a zero byte, the schema's number in four bytes, and the value.

Avro is decoded with fastavro (extra ``avro``) and handed on as JSON; bytes become base64, times and decimals text. A value of a
JSON Schema is JSON already. Protobuf (extra ``protobuf``) has the indexes of its message before the value, see `protobuf`; a
schema that cannot be compiled is refused with each of its records. A schema is asked for once and kept. While the registry is
away the stage stands still, as it does while the broker is away: nothing is refused for that.

Source: "Wire format" in Confluent's documentation of Schema Registry.
"""

import base64
import datetime as dt
import decimal
import io
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import urllib3

from detector.config import Config, RegistrySection
from detector.errors import ConfigError, ServiceError
from detector.ingest.formats.decoder import Decoder, Record, Surroundings, Unwrapping
from detector.ingest.formats.event import Refusal, UnusableError, refuse
from detector.ingest.formats.routing import NOBODY, decoder_for
from detector.ingest.schema import InputSchema
from detector.service.kafka.protobuf import compiled

__all__ = ["RegistryDecoder", "decoder_of_topics"]

MAGIC: Final = 0
PREFIX: Final = 5  # bytes
PATIENCE_S: Final = 10.0
MOST_SCHEMAS: Final = 1000
LARGEST_SCHEMA: Final = 1 << 20  # bytes
MOST_IMPORTS: Final = 100  # files of one Protobuf schema
MOST_UNKNOWN: Final = 10_000  # numbers that the registry does not know: anyone may write them


class _Schema(NamedTuple):
    kind: str
    parsed: Any
    """What it was parsed to; a text says why it cannot be used."""


class RegistryDecoder(Unwrapping):
    """Takes the value out of each record and hands it as JSON to the decoder of its format; other records pass as they are.

    Raises `ConfigError` when Avro cannot be read here for want of fastavro, and from `decode` `ServiceError` while the registry
    is away or refuses us: the one thing that is not the record's fault.
    """

    def __init__(self, section: RegistrySection, inner: Decoder) -> None:
        """Ask the registry of `section`."""
        super().__init__(inner)
        try:
            import fastavro  # noqa: PLC0415  # an extra
        except ImportError:
            raise ConfigError(
                "[kafka.registry] url is set, and fastavro is missing: pip install 'model-extraction-detector[avro]'"
            ) from None
        self._avro: Any = fastavro
        self._url = (section.url or "").rstrip("/")
        self._pool = urllib3.PoolManager(
            timeout=PATIENCE_S, retries=False, ca_certs=None if section.ca_file is None else str(section.ca_file)
        )
        secret = section.secret()
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json"}
        if section.username is not None:
            self._headers |= urllib3.make_headers(basic_auth=f"{section.username}:{secret or ''}")
        self._schemas: dict[int, _Schema | None] = {}

    def within(self, record: Record) -> Record | Refusal:
        """Return the record with its value as JSON; one without the prefix as it is."""
        value = record.value
        if len(value) < PREFIX or value[0] != MAGIC:
            return record
        try:
            return record._replace(value=self._as_json(int.from_bytes(value[1:PREFIX], "big"), value[PREFIX:]))
        except UnusableError as error:
            return refuse(error.reason, error.detail)

    def _as_json(self, number: int, value: bytes) -> bytes:
        schema = self._schema(number)
        if schema.kind == "JSON":
            return value
        if isinstance(schema.parsed, str):
            raise UnusableError("schema", f"schema {number} is {schema.kind} and cannot be used: {schema.parsed}")
        if schema.kind == "PROTOBUF":
            try:
                return json.dumps(schema.parsed.decode(value)).encode()
            except UnusableError as error:
                raise UnusableError(error.reason, f"not a value of schema {number}: {error.detail}") from None
        stream = io.BytesIO(value)
        try:
            found = self._avro.schemaless_reader(stream, schema.parsed, None)
            text = json.dumps(found, default=_plain)
        except Exception as error:  # noqa: BLE001  # whatever the bytes make of the schema
            raise UnusableError("schema", f"not a value of schema {number}: {type(error).__name__}: {error}"[:190]) from None
        if stream.read(1):
            raise UnusableError("schema", f"not a value of schema {number}: bytes are left over")
        return text.encode()

    def _schema(self, number: int) -> _Schema:
        if number not in self._schemas:
            if sum(known is not None for known in self._schemas.values()) >= MOST_SCHEMAS or len(self._schemas) >= MOST_UNKNOWN:
                self._schemas.clear()
            self._schemas[number] = self._fetch(number)
        known = self._schemas[number]
        if known is None:
            raise UnusableError("schema", f"the registry does not know schema {number}")
        return known

    def _fetch(self, number: int) -> _Schema | None:
        document = self._ask(f"/schemas/ids/{number}")
        if document is None:
            return None
        kind, text = document.get("schemaType", "AVRO"), document.get("schema", "")
        if kind == "PROTOBUF":
            return self._compiled(text, document)
        if kind != "AVRO":
            return _Schema(str(kind), None if kind == "JSON" else "only Avro, JSON Schema and Protobuf are read")
        try:
            named: dict[str, Any] = {}
            for reference in document.get("references", []):
                self._load(reference, named, depth=8)
            return _Schema("AVRO", self._avro.parse_schema(json.loads(text), named_schemas=named))
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the registry holds
            raise ServiceError(f"the registry's schema {number} cannot be used: {type(error).__name__}: {error}") from None

    def _compiled(self, text: Any, document: Mapping[str, Any]) -> _Schema:
        imports: dict[str, str] = {}
        try:
            self._collect(document, imports, depth=8)
            return _Schema("PROTOBUF", compiled(str(text), imports))
        except UnusableError as error:
            return _Schema("PROTOBUF", error.detail)
        except (LookupError, TypeError, ValueError) as error:
            raise ServiceError(f"the registry's references are not as expected: {type(error).__name__}: {error}") from None

    def _collect(self, document: Mapping[str, Any], imports: dict[str, str], depth: int) -> None:
        """Collect the texts of the files that a Protobuf schema imports, and those that they import, by name."""
        for reference in document.get("references", []):
            name = str(reference["name"])
            if name in imports:
                continue
            if depth == 0 or len(imports) >= MOST_IMPORTS:
                raise UnusableError("schema", f"it imports more than {MOST_IMPORTS} files, or 8 of them from one another")
            found = self._referred(reference)
            imports[name] = str(found["schema"])
            self._collect(found, imports, depth - 1)

    def _load(self, reference: Any, named: dict[str, Any], depth: int) -> None:
        """Load a schema that another one refers to, and those that it refers to itself."""
        if depth == 0:
            raise ServiceError(f"the registry's schema {reference['subject']!r} is referred to over more than 8 others")
        document = self._referred(reference)
        for further in document.get("references", []):
            self._load(further, named, depth - 1)
        self._avro.parse_schema(json.loads(document["schema"]), named_schemas=named)

    def _referred(self, reference: Any) -> dict[str, Any]:
        subject, version = quote(str(reference["subject"]), safe=""), int(reference["version"])
        document = self._ask(f"/subjects/{subject}/versions/{version}")
        if document is None:
            raise ServiceError(f"the registry does not have schema {reference['subject']!r}, which another one refers to")
        return document

    def _ask(self, path: str) -> dict[str, Any] | None:
        try:
            answer = self._pool.request("GET", self._url + path, headers=self._headers, preload_content=False)
            body = answer.read(LARGEST_SCHEMA + 1)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ServiceError(f"the schema registry at {self._url} cannot be reached: {type(error).__name__}") from error
        if answer.status == 404:  # Not Found
            return None
        try:
            document = json.loads(body) if len(body) <= LARGEST_SCHEMA else None
        except ValueError:
            document = None
        if answer.status != 200 or not isinstance(document, dict):  # OK
            raise ServiceError(f"the schema registry at {self._url} answered {answer.status} to {path}")
        return document


def decoder_of_topics(
    config: Config, learned: Mapping[str, InputSchema] | None = None, watching: Surroundings = NOBODY
) -> Decoder:
    """Return the decoder of records of the input topics, behind the schema registry where one is configured.

    `learned` are the columns of inputs that the baseline knows; `watching` is told what format the topics have.

    Raises `ConfigError` for a format that does not exist, and as `RegistryDecoder` does.
    """
    decoder = decoder_for(config, learned, watching=watching)
    return decoder if config.kafka.registry.url is None else RegistryDecoder(config.kafka.registry, decoder)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")
