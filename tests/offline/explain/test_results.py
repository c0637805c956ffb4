"""Reading results: the client that was meant is found, and folders that cannot be explained say why."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector.errors import SourceError
from detector.offline.explain.results import find_client, logs_of, read_lines, summary_of

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_an_unknown_client_is_answered_with_the_nearest_ids(day: "Day") -> None:
    """A slip of the key finds the client that was meant."""
    with pytest.raises(SourceError, match=r"no client 'raeder-1' among 7; the nearest ids: reader-1"):
        find_client("raeder-1", None, day.folder)


def test_several_models_have_to_be_distinguished(day: "Day") -> None:
    """Without a model the models are listed; with one its own line is found; a wrong one is refused."""
    with pytest.raises(SourceError, match="--model: digits, other"):
        find_client("twofold", None, day.folder)
    model, line = find_client("twofold", "other", day.folder)
    assert (model, line["model"], line["queries"]) == ("other", "other", 9)
    with pytest.raises(SourceError, match="sent nothing to model 'fraud'"):
        find_client("twofold", "fraud", day.folder)


def test_folders_that_cannot_be_explained_say_why(day: "Day", tmp_path: Path) -> None:
    """No results, results of standard input, and results whose log is gone."""
    with pytest.raises(SourceError, match=r"summary\.json is missing"):
        summary_of(tmp_path)
    summary = summary_of(day.folder)
    assert logs_of(summary, day.folder) == [str(day.log)]
    for log, complaint in (("-", "standard input"), (str(tmp_path / "gone.jsonl"), "is gone")):
        with pytest.raises(SourceError, match=complaint):
            logs_of(summary | {"logs": [log]}, tmp_path)
    for broken, complaint in (("[]", "does not say which logs"), ("{", "cannot be read")):
        (tmp_path / "summary.json").write_text(broken)
        with pytest.raises(SourceError, match=complaint):
            summary_of(tmp_path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """What comes before it is read; a file that is not there is named as well."""
    path = tmp_path / "clients.jsonl"
    path.write_text(json.dumps({"client": "a"}) + "\n{\n")
    lines = read_lines(path)
    assert next(lines) == {"client": "a"}
    with pytest.raises(SourceError, match=r"clients\.jsonl:2: not JSON"):
        next(lines)
    with pytest.raises(SourceError, match=r"gone\.jsonl: cannot be read"):
        next(read_lines(tmp_path / "gone.jsonl"))
