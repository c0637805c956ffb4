"""The explanation as data."""

import json
from typing import TYPE_CHECKING

import pytest

from detector.offline.explain import to_dict

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_the_dictionary_survives_json_and_agrees_with_the_record(day: "Day") -> None:
    """What is read back equals what was written, and its figures those of clients.jsonl."""
    for client in ("thief", "stranger", "reader-1"):
        plain = to_dict(day.explain(client))
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        (line,) = (line for line in day.records("clients.jsonl") if line["client"] == client)
        assert (plain["queries"], plain["level"]) == (line["queries"], line["level"])
        responses = {case["name"]: case["now"] for case in plain["evidence"]}
        assert responses == pytest.approx(line["evidence"], rel=1e-5, abs=1e-4)
        assert {figure["name"]: figure["value"] for figure in plain["features"]} == pytest.approx(line["features"], abs=1e-4)
        assert plain["course"][-1]["queries"] == plain["look"]
