"""Inputs by name and by place, with a schema and without."""

from typing import Any

import pytest

from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.inputs import Inputs
from detector.ingest.formats.texts import text_vector
from detector.ingest.schema import UNKNOWN, InputSchema
from detector.ingest.values import hashed_code

SCHEMA = InputSchema(
    ("amount", "country", "at", "note", "id"),
    ("number", "category", "time", "text", "ignore"),
    {"country": {"FR": 1, "DE": 2}},
)


def test_each_kind_has_its_numbers() -> None:
    inputs = Inputs({"m": SCHEMA})
    values = {"id": "x1", "note": "hello you there", "at": "1970-01-01T02:00:00Z", "country": "DE", "amount": "1.5"}
    assert inputs.vector("m", values) == [1.5, 2.0, 2.0, *text_vector("hello you there")]
    assert inputs.vector("m", [1.5, "IT", None, "", "x"]) == [1.5, UNKNOWN, None, *[None] * 64]


def test_without_a_schema_the_first_query_names_the_inputs_and_texts_get_codes() -> None:
    inputs = Inputs({})
    assert inputs.vector("m", {"a": 1, "b": "FR"}) == [1.0, hashed_code("FR")]
    assert inputs.vector("m", {"b": " FR ", "c": 3}) == [None, hashed_code("FR")]
    assert Inputs({}).vector("m", ["FR", 2]) == [hashed_code("FR"), 2.0]


@pytest.mark.parametrize(
    ("schemas", "values", "reason"),
    [
        ({}, {"a": "FR"}, "schema"),
        ({}, {"a": None, "b": 1}, "not_finite"),
        ({"m": SCHEMA}, {"amount": 1}, "not_finite"),
        ({"m": SCHEMA}, {"amount": "many", "country": "FR"}, "schema"),
        ({"m": SCHEMA}, {"amount": 1, "country": {}}, "schema"),
        ({}, {"a": 10**400}, "not_finite"),
    ],
)
def test_what_is_refused_where_nothing_may_be_missing(
    schemas: dict[str, InputSchema], values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnusableError) as caught:
        Inputs(schemas, missing=False).vector("m", values)
    assert caught.value.reason == reason
