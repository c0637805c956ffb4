"""The command line.

Exit status 0: done. 2: a usage or configuration error. 1: anything else that stopped the work. Messages and progress go to
standard error, so standard output can be piped; progress shows on a terminal only.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.audit import audit
from detector.cli.bench import bench
from detector.cli.decisions import decisions_app
from detector.cli.gate import gate_app
from detector.cli.inspect import logs_app
from detector.cli.kafka import dead_letters_app, produce, topics_app
from detector.cli.knowledge import baseline_app, explain
from detector.cli.logs import replay, run
from detector.cli.odometer import odometer
from detector.cli.ownership import ownership_app
from detector.cli.perturb import perturb_app
from detector.cli.redteam import redteam_app
from detector.cli.redteam_drill import redteam_drill
from detector.cli.redteam_price import redteam_price
from detector.cli.redteam_rankings import (
    redteam_rankings,
    redteam_rankings_ask,
    redteam_rankings_log,
    redteam_rankings_serve,
)
from detector.cli.settings import config_app, schema_app
from detector.cli.siem import siem_app
from detector.cli.terminal import AsJson, errors
from detector.cli.warm import warm_up
from detector.distribution import VERSION
from detector.errors import ConfigError, DetectorError

STOPPED, MISUSED, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="detector",
    help="Catches model extraction from the prediction log, while the theft is still cheap to stop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # otherwise section names in brackets are parsed as markup
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(replay)
app.command()(run)
app.add_typer(baseline_app, name="baseline")
app.command()(explain)
app.add_typer(schema_app, name="schema")
app.add_typer(config_app, name="config")
app.add_typer(logs_app, name="logs")
app.command()(odometer)
app.command()(audit)
app.add_typer(topics_app, name="topics")
app.command()(produce)
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(decisions_app, name="decisions")
app.add_typer(perturb_app, name="perturb")
app.add_typer(ownership_app, name="ownership")
app.add_typer(siem_app, name="siem")
app.add_typer(gate_app, name="gate")
redteam_app.command("price")(redteam_price)
redteam_app.command("rankings")(redteam_rankings)
redteam_app.command("rankings-log")(redteam_rankings_log)
redteam_app.command("rankings-serve")(redteam_rankings_serve)
redteam_app.command("rankings-ask")(redteam_rankings_ask)
redteam_app.command("drill")(redteam_drill)
app.add_typer(redteam_app, name="redteam")
app.command()(bench)
app.command("warm-up")(warm_up)


def main() -> None:
    """Run the command line and turn errors into messages and exit statuses."""
    # Matrices are small and a process uses one core: more threads in BLAS would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app()
    except ConfigError as error:
        _complain(error)
        sys.exit(MISUSED)
    except DetectorError as error:
        _complain(error)
        sys.exit(STOPPED)
    except BrokenPipeError:
        # The reader of our output has closed the pipe, as `head` does, so nothing more can be printed.
        sys.stderr.close()
        sys.exit(STOPPED)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:  # typer has turned Ctrl-C into this status, and says nothing
            errors.print("interrupted")
        raise


def _complain(error: DetectorError) -> None:
    for line in str(error).split("\n"):
        errors.print(f"detector: {line}", soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"detector {VERSION}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where everything goes")] = Path("detector-demo"),
    *,
    as_json: AsJson = False,
) -> None:
    """Show how a model theft is detected, on this machine, with nothing else installed."""
    from detector.demo.show import show

    show(out, errors, as_json=as_json)
