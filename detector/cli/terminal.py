"""Shared by the commands: options, messages and progress.

Messages and progress go to standard error, so that standard output can be piped; progress shows on a terminal only.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from detector.console import Console
from detector.errors import OutputError, SourceError
from detector.names import harmless_json

if TYPE_CHECKING:
    from detector.baseline.store import Baseline
    from detector.config import Config, DeliverySection
    from detector.ingest.formats.decoder import Surroundings
    from detector.ingest.source import Position
    from detector.offline.pipeline import Counts

EXAMPLES_OF_LOG = (
    "files (JSON Lines, JSON, CSV, Parquet; plain or compressed), folders, patterns in quotes, URLs; - for standard input; "
    "several are merged by time"
)

Logs = Annotated[list[str], typer.Argument(metavar="LOG...", help=EXAMPLES_OF_LOG)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="configuration (TOML); see `detector config check`")
]
BaselineDir = Annotated[
    Path | None, typer.Option("--baseline", metavar="DIR", help="baseline to use instead of the configured one")
]
LogFormat = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="format of the logs instead of the configured one")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]

COMPILING = "compiling, once for this version: this takes a minute or more; `detector warm-up` does it beforehand"

errors = Console(stderr=True)


def tell_refused(sentences: Iterable[str]) -> None:
    """Print what was refused; control characters from a log are removed."""
    from detector.names import printable

    for sentence in sentences:
        errors.print(printable(sentence, 1000), soft_wrap=True)


def load_config(config: Path | None, baseline: Path | None = None, log_format: str | None = None) -> "Config":
    """Return the settings of file, environment and options; raises `ConfigError`."""
    from detector.config import load

    def sections() -> "Mapping[str, type[DeliverySection]]":
        from detector.sinks.registry import SECTIONS

        return SECTIONS

    return load(config, sections).with_baseline(baseline).with_format(log_format)


def print_json(content: Any) -> None:
    """Print content for scripts."""
    typer.echo(harmless_json(json.dumps(content, indent=2, ensure_ascii=False)))


@contextmanager
def progress(what: str, *, engine: bool = False, plainly: bool = False) -> "Iterator[Callable[..., None]]":
    """Show how much of a log is read, on a terminal; do nothing in a pipe.

    With `engine` it also shows the kernels being compiled; with `plainly` a pipe gets one line about that.
    """
    with ExitStack() as stack:
        bar = stack.enter_context(
            Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=errors,
                transient=True,
                disable=not errors.is_terminal,
            )
        )
        task = bar.add_task(what, total=None, note="")
        compiled = 0

        def compiles(kernel: str) -> None:
            nonlocal compiled
            compiled += 1
            if compiled == 1 and plainly and not errors.is_terminal:
                errors.print(COMPILING, soft_wrap=True)
            bar.update(task, note=f"compiling, once: {kernel} ({compiled})")

        if engine:
            from detector.engine.kernels import compiling

            stack.enter_context(compiling(compiles))

        def show(position: "Position", counts: "Counts | None" = None, note: str | None = None) -> None:
            note = note or f"{position.consumed / 1e6:,.1f} MB"
            if counts is not None:
                note = f"{counts.events:,} events, {counts.alerts:,} alerts, {counts.decisions:,} decisions"
            bar.update(task, total=position.total, completed=position.consumed, note=note)

        yield show


def watching_formats() -> "Surroundings":
    """Return what prints which format ``auto`` recognises: each format once, with the first log that has it."""
    from detector.ingest.formats.decoder import Surroundings
    from detector.names import one_line

    told: set[str] = set()

    def tell(log: str, name: str, sign: str) -> None:
        if name not in told:
            told.add(name)
            errors.print(one_line(f"{log}: format {name}, recognised by {sign}"), soft_wrap=True)

    return Surroundings(recognized=tell)


def require_logs(logs: Sequence[str]) -> None:
    """Raise `SourceError` unless every log can be opened. Call it before anything is written."""
    from detector.ingest.paths import expand
    from detector.ingest.remote import is_url, opened

    wrong = []
    for log in expand(logs):
        if is_url(log):
            opened(log).close()
        elif log != "-":
            try:
                with Path(log).open("rb"):
                    pass
            except (FileNotFoundError, ValueError):  # a name may hold characters that no file name can
                wrong.append(f"{log}: no such file")
            except OSError as error:
                wrong.append(f"{log}: cannot be read: {error.strerror}")
    if wrong:
        raise SourceError("\n".join(wrong))


def mode(config: "Config") -> str:
    """Return whether decisions are simulated or real, as a sentence."""
    shadow = config.policy.shadow
    apart = sorted(model for model, section in config.models.items() if section.shadow not in {None, shadow})
    but = f", but {'real' if shadow else 'simulated'} for {', '.join(apart)}" if apart else ""
    return f"shadow mode: decisions are simulated{but}" if shadow else f"decisions are real: gateways enforce them{but}"


def tell_unmeasured(config: "Config", baseline: "Baseline | None") -> None:
    """Print a warning where budgets of the odometer can meet nobody."""
    from detector.baseline.unmeasured import tell

    for sentence in tell(config, baseline):
        errors.print(sentence, soft_wrap=True, markup=False)


def tell_set_up(config: "Config", baseline_version: str | None) -> None:
    """Print the settings in use, and a warning where there is no secret seed."""
    from detector.baseline.secret import NONE, source

    known = f"baseline {baseline_version}" if baseline_version else "no baseline: each model is learned from its first events"
    errors.print(f"{mode(config)}; {known}; configuration {config.version}", soft_wrap=True)
    if config.policy.trust_clients is False:
        errors.print(
            "client ids are not trusted: clients are throttled at most, and distinguished by client.ip; where a record has "
            'none, the address is "unknown"',
            soft_wrap=True,
        )
    if (seed := source(config)) == NONE:
        errors.print(seed, soft_wrap=True, markup=False)


def check_place(out: Path | None, what: str) -> None:
    """Raise `OutputError` where a file cannot come to be, before the work for it begins, which may take minutes."""
    if out is not None and not out.parent.is_dir():
        raise OutputError(f"{out}: cannot write the {what}: there is no folder {out.parent}")


def write_table(out: Path | None, text: str) -> None:
    """Write a table that was asked for into its file. Raises `OutputError`."""
    if out is None:
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot write the table: {error.strerror or error}") from error
