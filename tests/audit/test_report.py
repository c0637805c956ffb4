"""Reports as people and programs read them."""

import io
import json

from rich.console import Console

from detector.audit.report import markdown, to_dict
from detector.audit.words import tell
from tests.audit.logs import Audited, decision, event, steady

HOSTILE = "x`|<script>\x1b[2J\n# y"


def test_names_of_callers_are_text(audited: Audited) -> None:
    """A client's name and an event's id are no Markdown, no markup, and no command of a terminal."""
    about = {"type": "client", "id": HOSTILE}
    events = [event(0, 0, HOSTILE), event(1, 80, HOSTILE) | {"event_id": HOSTILE}]
    report = audited(events, decisions=[decision(1, 1, 1000, subject=about)])
    document = markdown(report)
    assert "<script>" not in document.replace("``x`\\|<script>\\x1b[2J\\n# y``", "")
    assert "\x1b" not in document
    assert not any(line.startswith("# y") for line in document.splitlines())
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(tell(report))
    assert "\x1b" not in console.export_text()


def test_json_has_everything(audited: Audited) -> None:
    """Findings first the severest, with controls, figures and examples; what was not judged; and what was looked at."""
    report = audited(steady(100), decisions=[decision(1, 1, 1000)])
    found = json.loads(json.dumps(to_dict(report)))
    assert found["counts"] == {"low": 0, "medium": 1, "high": 0, "critical": 1}
    assert [one["id"] for one in found["findings"]] == ["enforcement.block", "answers.full"]
    assert found["findings"][0]["controls"][0] == "AISVS v1.0-C11.3.4"
    assert found["log"]["first"] == "2026-05-04T10:31:07.000Z"
    total = sum(len(found[part]) for part in ("findings", "not_judged", "nothing_found"))
    assert total == len(report.results)
    assert report.fails("critical")
    assert not audited(steady(3)).fails("high")


def test_the_document_lists_what_could_not_be_judged(audited: Audited) -> None:
    """It would else read as if it had been found in order."""
    report = audited(steady(3))
    document = markdown(report)
    for one in report.unjudged:
        assert f"`{one.id}`" in document
    assert "## Not judged" in document


def test_one_of_something_is_no_plural(audited: Audited) -> None:
    """A log of one event is rare, and read by newcomers first."""
    said = " ".join(one.why for one in audited(steady(1)).unjudged) + markdown(audited(steady(1)))
    assert "got 1 answer in a day" in said
    assert "to 1 client" in said
    assert "1 answers" not in said.replace("1 of 1 answers", "")
    assert "1 clients" not in said
