"""The names of docs/pages/reference/api.md: those of `detector.__all__`, each from the module that defines it."""

from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

import detector

MARK = "<!-- generated: public names -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the names in the place of the mark; mkdocstrings makes their documentation of that."""
    del page, config, files
    return markdown.replace(MARK, "\n".join(lines())) if MARK in markdown else markdown


def lines() -> Iterator[str]:
    """Yield a reference to each public class and function, under the name that `detector` gives it."""
    for name in detector.__all__:
        public = getattr(detector, name)
        if isinstance(public, str):  # the version
            continue
        yield f"::: {public.__module__}.{public.__qualname__}"
        yield from ("    options:", f"      heading: detector.{name}", f"      toc_label: {name}", "")
