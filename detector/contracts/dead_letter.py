"""The dead-letter record: a record that could not be used, kept whole, with the reason and its origin.

The original bytes are base64, because a record is often here for not being text.
"""

import base64
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field

from detector.contracts.document import Document, from_base64

__all__ = ["REASONS", "DeadLetter", "Reason"]

Reason = Literal[
    "encoding",  # the bytes are not UTF-8
    "json",  # broken JSON, nested too deep, or an empty record
    "schema",  # a required field is missing, or a field has the wrong type or breaks its rule
    "not_finite",  # NaN, an infinity, or a number too large for float32
    "dimension",  # the vector is not as long as the model's
    "future",  # further ahead of the clock than the configured skew
    "late",  # older than what the stream may still hold
    "oversized",  # longer than the limit for one record, or than Kafka takes
    "truncated",  # the source itself cut the record or ended within it
    "failed",  # the record is valid, and processing it failed: a fault of this program
    "unidentified",  # nothing in the record says who asked
    "unanswered",  # the query got no answer, or its answer is not in the log
    "no_query",  # the record of a request that asks no model, such as a health check
]

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""All reasons. A reason's place is its code in the state of clients and on the wire, so new ones go to the end."""


def _base64(text: str) -> str:
    from_base64(text)
    return text


class DeadLetter(Document):
    r"""A refused record.

    >>> kept = DeadLetter.of("log.jsonl", 7, "encoding", "invalid start byte at 12", bytes([0xFF, 0xFE]))
    >>> kept.record, kept.original()
    ('//4=', b'\xff\xfe')
    """

    model_config = ConfigDict(
        title="Dead letter",
        json_schema_extra={"description": "A record that could not be used, with the reason and its origin."},
    )

    source: Annotated[str, Field(description="file name, - for standard input, or topic and partition")]
    line: Annotated[int, Field(ge=1, description="place in the source, counted from 1")]
    index: Annotated[
        int | None,
        Field(ge=1, description="which event of the record, counted from 0; left out for the first"),
    ] = None
    reason: Reason
    detail: Annotated[str, Field(description="for people; may change between versions")]
    record: Annotated[
        str,
        AfterValidator(_base64),
        Field(
            description="the original bytes, base64; empty where an earlier event of the record was refused, too",
            json_schema_extra={
                "contentEncoding": "base64",
                "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$",
            },
        ),
    ]

    @classmethod
    def of(  # the fields of the document
        cls, source: str, line: int, reason: Reason, detail: str, record: bytes, index: int = 0
    ) -> "DeadLetter":
        """Wrap the original bytes of a record. Raises ValueError for a line below 1."""
        text = base64.b64encode(record).decode()
        return cls(source=source, line=line, index=index or None, reason=reason, detail=detail, record=text)

    def original(self) -> bytes:
        """Return the bytes as they arrived."""
        return from_base64(self.record)
