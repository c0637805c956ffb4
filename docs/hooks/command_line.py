"""The commands of docs/pages/reference/cli.md, made from the command line itself."""

from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from typer.main import get_command

from detector.cli import app

MARK = "<!-- generated: command line -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the commands in the place of the mark."""
    del page, config, files
    return markdown.replace(MARK, "\n".join(lines())) if MARK in markdown else markdown


def lines() -> Iterator[str]:
    """Yield the lines of all commands, those of a group under its name."""
    command: Any = get_command(app)
    top = command.context_class(command, info_name="detector")
    for name, part in command.commands.items():
        inside = part.context_class(part, info_name=name, parent=top)
        if not hasattr(part, "commands"):
            yield from section(part, inside)
            continue
        if part.invoke_without_command:  # which does something by itself
            yield from section(part, inside)
        for inner, leaf in part.commands.items():
            yield from section(leaf, leaf.context_class(leaf, info_name=inner, parent=inside))


def section(command: Any, context: Any) -> Iterator[str]:
    """Yield what a command is for, how it is called, and its arguments and options."""
    yield from (f"## `{context.command_path}`", "", command.help or "", "")
    yield from ("```text", command.get_usage(context).removeprefix("Usage: "), "```", "")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context) if parameter.name != "help"]
    if records:
        yield from ("| argument or option | meaning |", "|---|---|")
    for names, said in filter(None, records):
        yield row(names, said)
    yield ""


def row(names: str, said: str) -> str:
    """Return a row of the table; a vertical line outside of code would end its cell."""
    return f"| `{names}` | {said.replace('|', chr(92) + '|')} |"
