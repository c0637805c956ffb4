"""The command that tells what a log proves about governance."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.terminal import (
    AsJson,
    BaselineDir,
    ConfigFile,
    LogFormat,
    Logs,
    check_place,
    load_config,
    print_json,
    progress,
    require_logs,
    tell_refused,
    watching_formats,
)
from detector.console import Console
from detector.errors import ConfigError, OutputError, SourceError

if TYPE_CHECKING:
    from detector.audit.known import BaselineFacts
    from detector.config import Config
    from detector.ingest.schema import InputSchema

FINDINGS = 1


def audit(
    logs: Logs,
    config: ConfigFile = None,
    decisions: Annotated[
        Path | None,
        typer.Option("--decisions", metavar="FILE", help="decisions.jsonl of that time, instead of [decisions] file"),
    ] = None,
    baseline: BaselineDir = None,
    bench: Annotated[
        Path | None, typer.Option("--bench", metavar="FILE", help="result of a bench: how many queries a copy takes")
    ] = None,
    commitment: Annotated[
        Path | None, typer.Option("--commitment", metavar="FILE", help="commitment to the key of the marks")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="FILE", help="true labels: JSON Lines of event_id and label")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="also write the report as Markdown")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", metavar="SEVERITY", help="exit with 1 for such a finding: low, medium, high or critical"),
    ] = None,
    log_format: LogFormat = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="also say what was looked at without a finding")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a log proves about governance, each finding with its controls in OWASP AISVS 1.0 and ASVS 5.0.0.

    Were decisions obeyed? Does the log say who asked, and does anybody vouch for it? How much do answers tell, how fast is the
    fastest client, is shadow mode still on? A finding is what the records prove. What they cannot tell is listed as such.

    Decisions must be those that gateways had at the time of the log: with decisions that a replay made afterwards, every answer
    after one is a gap.
    """
    from detector.audit.known import Known, read_bench, read_commitment, read_truth
    from detector.audit.report import markdown, to_dict
    from detector.audit.result import SEVERITIES
    from detector.audit.run import audit as run_audit
    from detector.audit.trail import read_trail
    from detector.audit.words import tell
    from detector.clock import SystemClock

    bar = next((severity for severity in SEVERITIES if severity == fail_on), None)
    if fail_on is not None and bar is None:
        raise ConfigError(f"--fail-on {fail_on}: known are {', '.join(SEVERITIES)}")
    settings = load_config(config, baseline, log_format or (None if config is not None else "auto"))
    check_place(out, "report")
    decided = decisions or (settings.decisions.file if config is not None else None)
    facts, schemas = _baseline(settings)
    known = Known(
        settings,
        configured=config is not None,
        trail=None if decided is None else read_trail(decided, settings.decisions.audit_file),
        baseline=facts,
        bench=None if bench is None else read_bench(bench),
        commitment=None if commitment is None else read_commitment(commitment),
        truth=None if truth is None else read_truth(truth),
        now_ms=SystemClock().now_ms(),
    )
    require_logs(logs)
    with progress("auditing") as show:
        report = run_audit(
            logs, known, schemas=schemas, watching=watching_formats(), progress=lambda position: show(position, None)
        )
    tell_refused(f"refused as {reason}: the first at {first}" for reason, first in (report.refusals or {}).items())
    # That nobody is named is what an audit is for: such a log has a report, and its problems come after it.
    if not report.events and "unidentified" not in (report.refusals or {}):
        raise SourceError("\n".join(report.problems))
    if out is not None:
        _write(out, markdown(report))
    if as_json:
        print_json(to_dict(report))
    else:
        Console().print(tell(report, everything=everything))
    if report.problems:
        raise SourceError("\n".join(report.problems))
    if bar is not None and report.fails(bar):
        raise typer.Exit(FINDINGS)


def _baseline(settings: "Config") -> "tuple[BaselineFacts | None, dict[str, InputSchema] | None]":
    """Return what is known of the configured baseline, and of the inputs of its models."""
    from detector.audit.known import BaselineFacts

    path = settings.baseline.path
    if path is None:
        return None, None
    from detector.offline.replay import load_baseline  # the engine takes seconds to import

    found = load_baseline(settings)
    if found is None:
        return None, None
    written_ms = int((path / "baseline.json").stat().st_mtime * 1000)
    return BaselineFacts(path, found.version, frozenset(found.models), written_ms), dict(found.schemas)


def _write(path: Path, text: str) -> None:
    from detector import private

    try:
        private.write(path, text.encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot write the report: {error.strerror or error}") from error
