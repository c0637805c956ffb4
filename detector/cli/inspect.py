"""The command that looks at logs before anything is configured."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.terminal import AsJson, ConfigFile, LogFormat, Logs, load_config, print_json, require_logs
from detector.console import say
from detector.errors import ConfigError, OutputError, SourceError

logs_app = typer.Typer(help="Logs as they are.", no_args_is_help=True)


@logs_app.callback()
def logs_group() -> None:
    """Look at logs as they are."""


@logs_app.command("inspect")
def logs_inspect(
    logs: Logs,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    records: Annotated[
        int, typer.Option("--records", min=1, help="most records to read; 64 MiB are the most in any case")
    ] = 10_000,
    events: Annotated[int, typer.Option("--events", min=0, help="decoded events to show")] = 10,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="new file for the configuration to go on with")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what logs are, before anything is configured, and the configuration to go on with.

    That is their container and format and by what they were recognised, some events, the clients and what names them, the
    columns of inputs, and what is refused, where, and why. Everything is counted under the configuration that is proposed: the
    one that is given, with what the logs need besides. Where no format fits, it guesses at the fields, and says so.

    The proposal holds [ingest], the zone of times in [engine], and the columns of [models]; other sections of a given file stay
    where they are.

    The exit status is 1 where no record can be used, or a log cannot be read to its end.
    """
    from detector.offline.inspection.report import inspect
    from detector.offline.inspection.words import tell

    if write is not None and write.exists():
        raise ConfigError(f"{write}: is there already, and is not replaced: name another file")
    settings = load_config(config, None, log_format or (None if config is not None else "auto"))
    require_logs(logs)
    found = inspect(logs, settings, records=records, events=events)
    if as_json:
        print_json(found)
    else:
        for line in tell(found, configuration=write is None):
            say(line)
    known = bool(found["events"] or found["formats"])
    if write is not None and known:
        _write(write, found["configuration"])
        if not as_json:
            say(f"configuration to go on with: {write}")
    problems = list(found["problems"])
    if not found["events"]:
        problems.append("no record can be used" + ("" if write is None or known else f"; {write} is not written"))
    if problems:
        raise SourceError("\n".join(problems))


def _write(file: Path, configuration: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(configuration)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror}") from None
