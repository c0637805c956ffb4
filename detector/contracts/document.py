"""What the contracts share: how a document is read, and how it becomes bytes.

Reading is strict: ``"1"`` is not 1, ``true`` is not 1, and NaN is not a number. Writing is canonical: the same
content gives the same bytes, so a repeated alert or decision can be recognised by comparing them.
"""

import base64
import binascii
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

__all__ = ["Document", "Texts", "Wire", "from_base64", "to_json"]

Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings on the wire, a tuple in memory."""


class Wire(BaseModel):
    """Base of every model in the contracts: immutable, strict, and silent about what is absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        kept: dict[str, Any] = handler(self)
        for name, field in type(self).model_fields.items():
            if getattr(self, name) is None and not field.is_required():
                kept.pop(name, None)
        return kept


class Document(Wire):
    """Base of what the service itself writes: alerts, decisions, dead-letter records.

    Unknown fields are refused. Read from JSON, a document must be as complete as we would have written it: fields
    with a default value are there, and an absent field is left out rather than null. Building one in Python is
    easier: defaults fill in, and None means absent.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any, info: ValidationInfo) -> Any:
        if info.mode != "json" or not isinstance(data, dict):
            return data
        for name, field in cls.model_fields.items():
            key = field.serialization_alias or name
            optional = field.default is None
            if optional and key in data and data[key] is None:
                raise ValueError(f"{key} is null; leave it out instead")
            if not optional and key not in data:
                raise ValueError(f"{key} is missing")
        return data


def to_json(model: Wire) -> bytes:
    """Render canonically: UTF-8, no whitespace, fields in the order of their definition, absent fields left out.

    The result is one line without its line break.

    >>> from detector.contracts.decision import Subject
    >>> to_json(Subject(type="client", id="acme"))
    b'{"type":"client","id":"acme"}'
    """
    return model.model_dump_json(by_alias=True).encode()


def from_base64(text: str) -> bytes:
    r"""Decode standard base64, padded, without line breaks.

    Raises ValueError for anything else, excess padding included, which the standard library lets pass.

    >>> from_base64("AACAPw==")
    b'\x00\x00\x80?'
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("not base64") from None
    if len(text) != (len(raw) + 2) // 3 * 4:
        raise ValueError("not base64: too much padding")
    return raw
