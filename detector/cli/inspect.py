"""The command that looks at logs before anything is configured."""

import json
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.terminal import AsJson, ConfigFile, LogFormat, Logs, load_config, print_json, require_logs
from detector.console import say
from detector.errors import OutputError

logs_app = typer.Typer(help="Logs as they are.", no_args_is_help=True)


@logs_app.callback()
def logs_group() -> None:
    """Look at logs as they are."""


@logs_app.command("inspect")
def logs_inspect(
    logs: Logs,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    records: Annotated[int, typer.Option("--records", min=1, help="most records to read")] = 10_000,
    events: Annotated[int, typer.Option("--events", min=0, help="decoded events to show")] = 10,
    write: Annotated[Path | None, typer.Option("--write", metavar="FILE", help="write the configuration to go on with")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="replace the file of --write")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which format logs have, who the clients are, what is refused, and the configuration to go on with.

    The exit status is 1 when no record could be decoded.
    """
    from detector.offline.inspection.advice import report
    from detector.offline.inspection.survey import survey

    require_logs(logs)
    if write is not None and write.exists() and not force:
        raise OutputError(f"{write}: is there already; --force replaces it")
    settings = load_config(config, None, log_format or (None if config is not None else "auto"))
    found = report(survey(logs, settings, records=records, events=events))
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            if name not in {"configuration", "first_events", "advice"}:
                say(f"{name.replace('_', ' ')}: {json.dumps(value, ensure_ascii=False)}")
        for event in found["first_events"]:
            say(f"event: {json.dumps(event, ensure_ascii=False)}")
        for sentence in found["advice"]:
            say(f"to do: {sentence}")
        if write is None:
            for line in found["configuration"].splitlines():
                say(line)
    if write is not None:
        try:
            write.write_text(found["configuration"], encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{write}: cannot be written: {error.strerror}") from None
    if not found["events"]:
        raise typer.Exit(1)
