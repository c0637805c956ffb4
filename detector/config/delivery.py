"""Deliveries: what every ``[[deliveries]]`` table has in common.

The kind of a table defines its other keys. The kinds are in `detector.sinks`, each with its own section that extends
`DeliverySection`; the caller of `load` passes them in.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from detector.config.section import Section, read_names
from detector.contracts.ecs import Severity


class DeliveryTable(Section):
    """A ``[[deliveries]]`` table as it is written; keys that are not common to all kinds are not checked yet, nor shown."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="in logs, metrics and the name of its consumer group")
    kind: str = Field(description="what takes it: the name of a sink")
    send: Annotated[tuple[Literal["alerts", "decisions"], ...], NoDecode, BeforeValidator(read_names)] = Field(
        ("alerts", "decisions"), description="what it is sent"
    )
    min_severity: Severity = Field(
        "low", description="less severe documents are left out; a decision that lifts another one never is"
    )
    timeout_seconds: float = Field(10.0, gt=0, le=600, description="how long one request may take")

    @field_validator("send")
    @classmethod
    def _something(cls, send: tuple[str, ...]) -> tuple[str, ...]:
        if not send:
            raise ValueError("name alerts, decisions or both")
        return send

    @property
    def given(self) -> dict[str, Any]:
        """What is written in the table, for its kind to check."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out what may be a secret."""
        return ((name, value) for name, value in super().__repr_args__() if name in type(self).model_fields)

    def shown(self) -> dict[str, Any]:
        """Return what is set, as plain data for people; nothing that may be a secret."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set(self.model_extra or ()))

    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown; a table that its kind has not checked knows of nothing."""
        return ()


class DeliverySection(DeliveryTable):
    """Base of the sections of the kinds: the common keys, and unknown ones are mistakes."""

    model_config = ConfigDict(extra="forbid")
