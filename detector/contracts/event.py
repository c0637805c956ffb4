"""The prediction event: one query to a model and its answer.

This is the reference for what a valid event is; any faster reader must accept and refuse exactly the same records.
The rules, for a record that is already well-formed JSON (RFC 8259: UTF-8, no NaN token, no lone surrogate):

- Types are exact. A string is never a number, a boolean is never a number, ``1.0`` is not an integer.
- Unknown fields are ignored, at every level. Of a repeated key the last one counts.
- ``null`` in an optional field means that the field is absent.
- Whatever is present must be valid, used or not.
- Every text has a maximum length. An id or a label that is longer is refused. What only describes (`client.type`,
  `client.organization`, `client.ip`, `client.user_agent`, `model.version`) is cut to it, since callers set some of it by
  a header, and a caller must not be able to have its queries refused.
- `time`: RFC 3339 text, or a number in the unit that its size tells (see `moment`); from 2000 to 9999. Text without an
  offset is valid where the reader was given the time zone (validation context ``{"zone": tzinfo}``).
- `input`: exactly one of a vector, `columns`, `text` and `image_b64`. A vector is `vector` or `vector_b64`, at least one
  number; `vector` is used where both are there. Every number is finite *after* rounding to float32, which is to say smaller
  in magnitude than `FLOAT32_BOUND` before it. ``null`` in `vector` and NaN in `vector_b64` are missing values; not every
  value may be missing. `vector_b64` is padded standard base64 without line breaks.
- `columns` are by name: a number, a text, a truth or null. `image_b64` is a PNG or JPEG file; whether it can be read is not
  decided here, since that takes Pillow.
- `output`: `label`, `probabilities`, `ranking` or `value`, a number that was predicted, which is used where none of the others
  is there. It is what the client was told; `perturbed` and `original` say what was done to it: evidence reads the original, or
  leaves the probabilities out where the log has none, and no baseline learns from it. An answer that only bears a `mark`
  (mode ``none``) is read as it was told. An integer label fits in 64 signed bits. A probability lies in [0, 1], give or take
  `PROBABILITY_SLACK`, since servers round; they need not sum to 1, since models need not be exclusive.
- `ranking` is a recommender's answer: ids of items, the best first, each once, at most `RANKING_ITEMS`. ``1`` and ``"1"`` are
  two items. `ranking_scores`, if there, has a finite number for each of them. Where there is neither a label nor
  probabilities, the first item is the label: it is what the model prefers, as a label is, and the one place of a list that
  no truncation hides and that defences leave alone. The rest of the list is checked and then dropped, since no evidence
  reads it.
"""

import datetime as dt
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from detector.contracts.document import Wire, from_base64
from detector.contracts.limits import (
    ID_CHARACTERS,
    MARK_SUBJECT_CHARACTERS,
    RANKING_ITEMS,
    TEXT_CHARACTERS,
    USER_AGENT_CHARACTERS,
)
from detector.contracts.moment import PATTERN, READINGS, event_ms

__all__ = [
    "ALL_MISSING",
    "FLOAT32_BOUND",
    "PROBABILITY_SLACK",
    "REPEATED_ITEM",
    "SCORES_DIFFER",
    "Answer",
    "Client",
    "Model",
    "PredictionEvent",
    "Query",
    "decode_vector",
]

FLOAT32_BOUND: Final = 3.4028235677973366e38
"""The smallest double that rounds to infinity in float32: half a step above the largest, 3.4028234663852886e38."""

PROBABILITY_SLACK: Final = 1e-6

ALL_MISSING: Final = "every value is missing"

REPEATED_ITEM: Final = "an item stands in it twice"

SCORES_DIFFER: Final = "ranking_scores has another length than ranking, or stands without it"

_BASE64_FLOATS = r"^([A-Za-z0-9+/]{16})*([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{11}=|[A-Za-z0-9+/]{6}==)$"
_INT64 = Field(ge=-(2**63), le=2**63 - 1)


def _cut(text: str) -> str:
    return text[:TEXT_CHARACTERS]


def _cut_user_agent(text: str) -> str:
    return text[:USER_AGENT_CHARACTERS]


def _first(characters: int, said: str = "") -> str:
    return f"{said}{'; ' if said else ''}only the first {characters} characters are kept"


Id = Annotated[str, Field(min_length=1, max_length=ID_CHARACTERS)]
Label = Annotated[str, Field(max_length=TEXT_CHARACTERS)]
Described = Annotated[str, AfterValidator(_cut)]
Coordinate = Annotated[float, Field(gt=-FLOAT32_BOUND, lt=FLOAT32_BOUND)]
Item = Id | Annotated[int, _INT64]
Probability = Annotated[float, Field(ge=-PROBABILITY_SLACK, le=1 + PROBABILITY_SLACK)]


def decode_vector(text: str) -> npt.NDArray[np.float32]:
    """Decode base64 of little-endian float32 into a vector of shape (d,), in native byte order; NaN is a missing value.

    Raises ValueError where the text is not padded base64, is empty, ends within a number, holds an infinity, or every
    value is missing.

    >>> decode_vector("AACAPwAAAEA=").tolist()
    [1.0, 2.0]
    """
    raw = from_base64(text)
    if not raw or len(raw) % 4:
        raise ValueError(f"{len(raw)} bytes are not a whole number of float32")
    vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if np.isinf(vector).any():
        raise ValueError("holds an infinity")
    if np.isnan(vector).all():
        raise ValueError(ALL_MISSING)
    return vector


def _readable_time(time: str | float, info: ValidationInfo) -> str | float:
    zone: dt.tzinfo | None = (info.context or {}).get("zone")
    event_ms(time, zone)
    return time


def _some_known(vector: list[float | None]) -> list[float | None]:
    if vector and all(number is None for number in vector):
        raise ValueError(ALL_MISSING)
    return vector


def _each_once(items: list[str | int]) -> list[str | int]:
    if len(set(items)) < len(items):
        raise ValueError(REPEATED_ITEM)
    return items


def _readable_vector(text: str) -> str:
    decode_vector(text)
    return text


class Client(Wire):
    """Who asked. Only an identity that the caller cannot forge is trusted, and only a trusted one may be blocked."""

    id: Id
    type: Annotated[Described | None, Field(description=_first(TEXT_CHARACTERS, "api_key, user, service_account, ..."))] = None
    trusted: Annotated[
        bool | None, Field(description="false where the caller could have forged the identity; left out: as the policy says")
    ] = None
    organization: Annotated[Described | None, Field(description=_first(TEXT_CHARACTERS))] = None
    ip: Annotated[Described | None, Field(description=_first(TEXT_CHARACTERS, "as logged; need not be a valid address"))] = None
    user_agent: Annotated[
        Annotated[str, AfterValidator(_cut_user_agent)] | None, Field(description=_first(USER_AGENT_CHARACTERS))
    ] = None


class Model(Wire):
    """What was asked."""

    id: Id
    version: Annotated[Described | None, Field(description=_first(TEXT_CHARACTERS))] = None


class Query(Wire):
    """The instance that was predicted, after whatever the server does to a request before it reaches the model."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "anyOf": [
                        {"required": ["vector"], "properties": {"vector": {"type": "array"}}},
                        {"required": ["vector_b64"], "properties": {"vector_b64": {"type": "string"}}},
                    ]
                },
                {"required": ["columns"], "properties": {"columns": {"type": "object"}}},
                {"required": ["text"], "properties": {"text": {"type": "string"}}},
                {"required": ["image_b64"], "properties": {"image_b64": {"type": "string"}}},
            ]
        }
    )

    vector: Annotated[
        Annotated[list[Coordinate | None], AfterValidator(_some_known)] | None,
        Field(
            min_length=1,
            description="null is a missing value; not every value may be missing",
            json_schema_extra={"contains": {"type": "number"}},
        ),
    ] = None
    vector_b64: Annotated[
        Annotated[str, AfterValidator(_readable_vector)] | None,
        WithJsonSchema(
            {
                "anyOf": [{"type": "string", "pattern": _BASE64_FLOATS}, {"type": "null"}],
                "description": "base64 of little-endian float32; NaN is a missing value, no infinity",
            }
        ),
    ] = None

    columns: Annotated[
        dict[str, float | str | bool | None] | None,
        Field(min_length=1, description="inputs by name; null is a missing value"),
    ] = None
    text: Annotated[str | None, Field(description="a text, such as a prompt")] = None
    image_b64: Annotated[str | None, Field(description="base64 of a PNG or JPEG file")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Query":
        vector = self.vector if self.vector is not None else self.vector_b64
        given = sum(value is not None for value in (vector, self.columns, self.text, self.image_b64))
        if given == 0:
            raise ValueError("neither vector nor vector_b64, nor columns, text or image_b64")
        if given > 1:
            raise ValueError("more than one of vector, columns, text and image_b64")
        return self


class Mark(Wire):
    """The mark of ownership that an answer bears: `id` says which key made it, without the key."""

    id: Label
    subject: Annotated[str, Field(max_length=MARK_SUBJECT_CHARACTERS, description="client:ID, organization:ID or campaign:ID")]
    epoch: Label


class Perturbed(Wire):
    """How an answer was changed before the client got it."""

    mode: Annotated[Label, Field(description="top1, label, mislead; none: it was only marked")]
    key_id: Label | None = None
    mark: Annotated[Mark | None, Field(description="there where a copy can be recognised by the answer")] = None


class Original(Wire):
    """What the model said where the client was told something else."""

    label: Label | Annotated[int, _INT64] | None = None
    probabilities: Annotated[list[Probability] | None, Field(min_length=1)] = None


class Answer(Wire):
    """What the model said."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["label"], "properties": {"label": {"type": ["string", "integer"]}}},
                {"required": ["probabilities"], "properties": {"probabilities": {"type": "array"}}},
                {"required": ["ranking"], "properties": {"ranking": {"type": "array"}}},
                {"required": ["value"], "properties": {"value": {"type": "number"}}},
            ]
        }
    )

    label: Label | Annotated[int, _INT64] | None = None
    probabilities: Annotated[
        list[Probability] | None, Field(min_length=1, description="one per class, in an order that the model keeps")
    ] = None
    value: Annotated[
        float | None, Field(description="a number that was predicted: its bin among the model's usual answers is used")
    ] = None
    ranking: Annotated[
        Annotated[list[Item], AfterValidator(_each_once)] | None,
        Field(
            min_length=1,
            max_length=RANKING_ITEMS,
            description="ids of recommended items, the best first, each once; without a label or probabilities the first one "
            "is the label",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = None
    ranking_scores: Annotated[
        list[float] | None,
        Field(min_length=1, max_length=RANKING_ITEMS, description="one finite number for each item of ranking"),
    ] = None
    perturbed: Annotated[Perturbed | None, Field(description="there where the answer was changed before the client got it")] = (
        None
    )
    original: Annotated[Original | None, Field(description="what the model said before that: evidence reads it")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Answer":
        if self.label is None and self.probabilities is None and self.ranking is None and self.value is None:
            raise ValueError("neither label nor probabilities, nor ranking or value")
        if self.ranking_scores is not None and len(self.ranking_scores) != len(self.ranking or ()):
            raise ValueError(SCORES_DIFFER)
        return self


class PredictionEvent(Wire):
    """One query and its answer. Read one with `model_validate_json`.

    Parts that the log left out are None; fields keep the form they came in, `time_ms` and `values` give the usable one.

    >>> event = PredictionEvent.model_validate_json('''{
    ...     "event_id": "e1", "time": "2026-05-04T10:31:07Z", "client": {"id": "acme"}, "model": {"id": "fraud"},
    ...     "input": {"vector": [1, 2.5]}, "output": {"label": 0}}''')
    >>> event.time_ms, event.values().tolist(), event.client.trusted
    (1777890667000, [1.0, 2.5], None)
    """

    model_config = ConfigDict(
        title="Prediction event",
        json_schema_extra={
            "description": "One query to a model and its answer. Unknown fields are ignored; null means absent."
        },
    )

    event_id: Annotated[Id, Field(description="unique per instance; repeated delivery changes nothing")]
    time: Annotated[
        str | int | float,
        AfterValidator(_readable_time),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "format": "date-time", "pattern": PATTERN},
                    *({"type": "number", "minimum": first, "exclusiveMaximum": end} for first, end in READINGS),
                ],
                "description": "event time, from 2000 on: RFC 3339 with an offset, or a number since 1970 whose size tells its "
                "unit: seconds, milliseconds, microseconds or nanoseconds",
            }
        ),
    ]
    client: Client
    model: Model
    input: Query
    output: Answer
    latency_ms: Annotated[float | None, Field(ge=0)] = None
    status: Annotated[int | None, _INT64] = None
    sampled_rate: Annotated[float | None, Field(ge=1, description="30 means that 1 query of 30 was logged")] = None

    @property
    def time_ms(self) -> int:
        """Event time in milliseconds since 1970, rounded down.

        Raises ValueError for text without an offset, which was valid only to a reader that was given the time zone.
        """
        return event_ms(self.time)

    def values(self) -> npt.NDArray[np.float32]:
        """Return the input as a new float32 array of shape (d,); NaN is a missing value, no number is infinite.

        Raises ValueError where the input is no vector: what columns, texts and pictures become depends on the model's schema.
        """
        if self.input.vector is not None:
            return np.array(self.input.vector, dtype=np.float64).astype(np.float32)
        if self.input.vector_b64 is None:
            raise ValueError("the input is no vector")
        return decode_vector(self.input.vector_b64)
