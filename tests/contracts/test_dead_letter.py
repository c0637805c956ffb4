"""The dead letter keeps the original bytes."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.contracts import DeadLetter, to_json
from detector.contracts.dead_letter import Reason

GOLDEN = Path(__file__).parents[1] / "golden" / "contracts" / "dead-letters.jsonl"


@given(st.binary())
def test_any_bytes_survive(record: bytes) -> None:
    """The record comes back exactly as it arrived, whatever it holds."""
    letter = DeadLetter.of("log.jsonl", 1, "encoding", "", record)
    assert DeadLetter.model_validate_json(to_json(letter)).original() == record


def test_every_reason_has_a_golden_example() -> None:
    """The fixed codes and the golden file list the same reasons, in the same order."""
    seen = [DeadLetter.model_validate_json(line).reason for line in GOLDEN.read_bytes().splitlines()]
    assert seen == list(get_args(Reason))


@pytest.mark.parametrize("change", [{"line": 0}, {"reason": "other"}, {"record": "a"}, {"record": "AA==\n"}, {"extra": 1}])
def test_what_breaks_the_contract_is_refused(change: dict[str, object]) -> None:
    """Lines count from 1, reasons are fixed, and the record is base64."""
    whole = DeadLetter.of("log.jsonl", 1, "json", "", b"{").model_dump()
    with pytest.raises(ValidationError):
        DeadLetter.model_validate(whole | change)
