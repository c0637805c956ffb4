"""The command that tells how much of a model each client holds."""

from typing import Annotated

import typer

from detector.cli.terminal import (
    AsJson,
    BaselineDir,
    ConfigFile,
    LogFormat,
    Logs,
    load_config,
    print_json,
    progress,
    require_logs,
    tell_refused,
)
from detector.console import Console
from detector.errors import BaselineError, ConfigError, SourceError

BUDGETS = (0.65, 0.70, 0.80)


def odometer(
    logs: Logs,
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    log_format: LogFormat = None,
    budget: Annotated[
        list[float] | None,
        typer.Option("--budget", metavar="LEAD", help="lead to show the effect of, over 0 to 1; repeatable  [.65 .70 .80]"),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell how much of the model each client and organisation holds, and what a budget would stop and cost.

    For each client a small copy is trained on what the client was told, and judged by inputs of benign clients that the
    baseline keeps. The lead is how far that copy is from the best guess (0) to the model itself (1), at its highest. Nothing is
    measured before 32 queries. It says nothing about intent: an innocent heavy client holds as much as a thief with the same
    queries.

    Nothing is stopped: this only shows what a budget would do.
    """
    from detector.offline.odometer.survey import survey
    from detector.offline.odometer.words import tell, to_dict
    from detector.offline.replay import Read, load_baseline, read_batches

    asked = budget or BUDGETS
    for given in asked:
        if not 0.0 < given <= 1.0:
            raise ConfigError(f"--budget {given:g}: a lead is more than 0 and at most 1")
    budgets = tuple(sorted({float(f"{given:g}") for given in asked}))  # budgets that read alike are one
    settings = load_config(config, baseline, log_format)
    known = load_baseline(settings)
    if known is None:
        raise ConfigError("the odometer needs a baseline: name one with --baseline or [baseline] path")
    require_logs(logs)
    tally = Read()
    try:
        with progress("measuring", engine=True) as show:
            read = read_batches(
                logs,
                settings,
                progress=lambda position: show(position, None),
                tally=tally,
                schemas=known.schemas,
                as_told=True,
            )
            found = survey(read, known, budgets)
    finally:
        tell_refused(tally.tell())
    if not tally.events:
        raise SourceError(tally.refusals.verdict(0, tally.refusals.counts.total()) or "the log holds no event")
    if as_json:
        print_json({"events": tally.events, "reasons": tally.refusals.reasons, **to_dict(found, budgets)})
    else:
        Console().print(tell(found, budgets))
    if not found.fleets:
        raise BaselineError(
            "no model of the log can be measured: " + "; ".join(f"{m!r}: {why}" for m, why in found.silent.items())
        )
