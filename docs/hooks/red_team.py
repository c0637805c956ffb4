"""The tables of docs/pages/reference/red-team.md: every attack, evasion, split and benign profile, made from the registry."""

from collections.abc import Iterator, Sequence

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from detector.redteam.accounts import TITLES
from detector.redteam.design_aware import EVASIONS
from detector.redteam.registry import ATTACKS, PROFILES

MARK = "<!-- generated: red team -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables in the place of the mark."""
    del page, config, files
    return markdown.replace(MARK, "\n".join(lines())) if MARK in markdown else markdown


def lines() -> Iterator[str]:
    """Yield a heading and a table for each of the four lists, in the order in which they are published."""
    yield from table(
        "Attacks",
        ("id", "what it is", "family", "data", "needs", "source"),
        [(f"`{a.id}`", a.title, a.family, ", ".join(a.data), a.needs, a.source) for a in ATTACKS.values()],
    )
    yield from table(
        "Thieves who know this design",
        ("id", "what it is", "against", "attack", "in place of", "data"),
        [(f"`{e.id}`", e.title, e.against, f"`{e.attack}`", f"`{e.plain}`", ", ".join(e.data)) for e in EVASIONS.values()],
    )
    yield from table("How campaigns are dealt", ("id", "what it is"), [(f"`{name}`", title) for name, title in TITLES.items()])
    yield from table(
        "Benign profiles",
        ("id", "what it is", "family", "data", "wave", "source"),
        [(f"`{p.id}`", p.title, p.family, p.data, p.wave, p.source) for p in PROFILES.values()],
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a heading and a table of Markdown."""
    yield from (f"## {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}")
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
