"""The report on a terminal."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from detector.audit.report import Report, summary
from detector.audit.result import Severity
from detector.names import one_line

__all__ = ["tell"]

_COLOURS: Final[dict[Severity, str]] = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}


def tell(report: Report, *, everything: bool = False) -> Group:
    """Return what is printed: findings in full, and one line for each check that could not be judged.

    With `everything` also a line for each check that found nothing.
    """
    return Group(*_parts(report, everything=everything))


def _parts(report: Report, *, everything: bool) -> Iterator[Text | Padding]:
    yield Text(one_line(summary(report)))
    for found in report.findings:
        yield Text("")
        yield Text.assemble(
            (found.severity.upper(), _COLOURS[found.severity]), f"  {found.title}", (f"  {found.id}", "dim"), overflow="fold"
        )
        yield _indented(", ".join(found.controls), "dim")
        yield _indented(found.seen)
        yield _indented(f"Why {found.severity}: {found.reason}")
        if found.examples:
            yield _indented(f"Examples: {', '.join(found.examples)}")
        yield _indented(f"Do: {found.advice}")
    if report.unjudged:
        yield Text("")
        yield Text("Cannot be judged:")
        for one in report.unjudged:
            yield _indented(f"{one.id}: {one.why}")
    if report.clear:
        yield Text("")
        if everything:
            yield Text("Nothing found:")
            for looked in report.clear:
                yield _indented(f"{looked.id}: {looked.seen}")
        else:
            yield Text(
                f"Nothing found by {len(report.clear)} checks: {', '.join(looked.id for looked in report.clear)}",
                overflow="fold",
            )


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(one_line(text), style=style, overflow="fold"), (0, 0, 0, 2))
