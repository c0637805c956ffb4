"""The terminal: whatever names hold, what is printed only shows.

Names come from data: models, clients, labels, versions, topics, files. Rich takes square brackets for its markup, and a
terminal takes control characters for commands. So the console has no markup, and everything that it writes is made harmless on
its way out; what is to be coloured is a `Text`.
"""

from collections.abc import Iterable
from typing import Any, BinaryIO

import typer
from rich import console as rich_console
from rich.segment import Segment

from detector.names import harmless, harmless_json, one_line


class Console(rich_console.Console):
    """A rich console without markup, emoji codes and highlighting, which writes nothing that acts on a terminal."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        """Write to standard output, or to standard error."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def render(
        self, renderable: rich_console.RenderableType, options: rich_console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does; letters that would act are escaped. Colours and the like are no text, and stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def say(text: str) -> None:
    """Print one line to standard output; what would act on a terminal, or begin another line, is escaped."""
    typer.echo(one_line(text))


class JsonTerminal:
    """A stream for JSON Lines that shows them on a terminal; elsewhere bytes go through as they are."""

    def __init__(self, stream: BinaryIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._shows = stream.isatty()

    def write(self, data: bytes, /) -> int:
        """Write lines of JSON."""
        if self._shows:
            data = harmless_json(data.decode(errors="replace")).encode()
        return self._stream.write(data)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()
