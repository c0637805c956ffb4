"""The formats of the logs: of each topic, and of files; who asked, and where the fields of a mapped log are."""

import re
from ipaddress import ip_network
from typing import Literal

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from detector.config.section import Section


class TopicSection(Section):
    """What is known of one input topic."""

    format: str = Field(min_length=1, description="format of its records, instead of [ingest] format")


class ClientRule(Section):
    """Where the client of a query stands. Rules are tried in turn, and the first that finds a text decides."""

    header: str | None = Field(None, min_length=1, description="name of a request header; letter case does not matter")
    path: str | None = Field(None, min_length=1, description="JMESPath in the record")
    body: str | None = Field(None, min_length=1, description="JMESPath in the body of the request")
    constant: str | None = Field(None, min_length=1, max_length=256, description="this client, for whatever is left")
    pattern: str | None = Field(
        None, min_length=1, description="regular expression that is sought in the text; its first group is the client"
    )
    type: str | None = Field(None, max_length=256, description="what it is: api_key, user, service_account, ...")
    trusted: bool | None = Field(
        None, description="whether the gateway vouches for it; without it [policy] trust_clients decides"
    )
    normalize: tuple[Literal["trim", "lower", "nfc"], ...] = Field(
        (), description="make texts that differ only so one client: trim spaces, lower case, Unicode NFC"
    )

    @field_validator("path", "body")
    @classmethod
    def _compiles(cls, path: str | None) -> str | None:
        return None if path is None else checked_path(path)

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _one_source(self) -> "ClientRule":
        if sum(value is not None for value in (self.header, self.path, self.body, self.constant)) != 1:
            raise ValueError("give exactly one of header, path, body and constant")
        return self


class MappingSection(Section):
    """Where the fields of an event stand in a record of any shape, as JMESPath: what ``format = "mapping"`` reads."""

    id: str | None = Field(None, description="id of the query; without it the record's place and content make one")
    time: str | None = Field(None, description="when it was asked; without it the record's own time")
    client: str | None = Field(None, description="who asked; [[ingest.clients]] says more")
    model: str | None = Field(None, description="which model; without it [ingest] model")
    version: str | None = Field(None, description="version of the model")
    input: str | None = Field(None, description="the input: a list, an object of columns, or a text")
    columns: tuple[str, ...] = Field((), description="instead of input: names of the fields that are the input, in order")
    label: str | None = Field(None, description="predicted label")
    probabilities: str | None = Field(None, description="probabilities, as a list or an object")
    score: str | None = Field(None, description="one score: the probability of the second class, or a number that is predicted")
    status: str | None = Field(None, description="HTTP status")
    latency_ms: str | None = Field(None, description="duration, in milliseconds")
    sampled_rate: str | None = Field(None, description="how many queries a record stands for")
    organization: str | None = Field(None, description="organization of the client")
    ip: str | None = Field(None, description="address of the client")
    user_agent: str | None = Field(None, description="user agent of the client")

    @field_validator("*")
    @classmethod
    def _compiles(cls, value: object) -> object:
        return checked_path(value) if isinstance(value, str) else value


class IngestSection(Section):
    """How records are read."""

    format: str = Field("native", min_length=1, description="format of records; `detector config check` names those there are")
    envelope: Literal["auto", "none", "kcat", "docker", "cri", "beats"] = Field(
        "auto",
        description="what is around the record in a line of a file: nothing, what `kcat -J` writes, with topic, key and "
        "headers, or what docker, the container runtime or Beats put there; auto: seen from the lines",
    )
    topics: dict[str, TopicSection] = Field({}, description="input topics that have a format of their own")
    clients: tuple[ClientRule, ...] = Field(
        (), description="where the client stands, first match wins; else what the format knows"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="networks of our own proxies: the client's address is the last one of X-Forwarded-For not among them"
    )
    model: str | None = Field(None, max_length=256, description="id of the model, where the log does not name one")
    label_output: str | None = Field(None, description="name of the output that is the label, where a server answers several")
    score_output: str | None = Field(None, description="name of the output that holds probabilities or a score")
    missing: Literal["keep", "refuse"] = Field(
        "keep",
        description="values that are null, empty or no number: kept as missing, or the whole query becomes a dead letter",
    )
    missing_time: Literal["refuse", "file"] = Field(
        "refuse",
        description="records of files that say nowhere when they were asked: refused, or given the time at which their "
        "file was last written; records of Kafka have a time",
    )
    join_seconds: float = Field(
        60.0, gt=0, le=3600, description="how long a request waits for its answer where the log holds them apart"
    )
    sampled_rate: float | None = Field(
        None, ge=1, description="how many queries a record stands for, where the log does not say"
    )
    mapping: MappingSection = Field(MappingSection(), description='where the fields stand, for format = "mapping"')

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network, strict=False)
        return networks


class InputsSection(Section):
    """How inputs that are texts become numbers."""

    encoder: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description='function that makes vectors of texts, as "module:function": it gets a list of n texts and returns an '
        "array of shape (n, d); without it hashed words and letters",
    )
    embedding: str | None = Field(
        None,
        min_length=1,
        description="JMESPath of an embedding that the log holds, in an instance of the request or else in the record: it is "
        "the input in place of the text; not for the native format, which has input.vector",
    )

    @field_validator("embedding")
    @classmethod
    def _compiles(cls, path: str | None) -> str | None:
        return None if path is None else checked_path(path)


def checked_path(path: str) -> str:
    """Return a JMESPath that can be compiled; raises ValueError for another text."""
    try:
        jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath: {str(error).splitlines()[0]}") from None
    return path
