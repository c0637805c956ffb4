"""Commands for the configuration and the contracts."""

import json
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.deliveries import receivers_of
from detector.cli.terminal import AsJson, ConfigFile, errors, load_config, print_json, tell_set_up, tell_unmeasured
from detector.console import say

schema_app = typer.Typer(help="The contracts as JSON Schema.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration.", no_args_is_help=True)


@schema_app.command("export")
def schema_export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the schema files go")] = Path("schemas"),
) -> None:
    """Write the JSON Schema of every contract."""
    from detector.contracts.schema import export

    for path in export(out):
        say(str(path))


@config_app.command("check")
def config_check(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Check the configuration and print what results from file, environment and defaults; secrets are not shown."""
    from detector.baseline.secret import NONE, source
    from detector.ingest.formats.routing import decoder_for
    from detector.offline.replay import load_baseline

    settings = load_config(config)
    decoder_for(settings)
    receivers_of(settings)  # so that an unusable secret or certificate is reported
    content = settings.shown()
    if as_json:
        print_json(content)
    else:
        for section, values in content.items():
            typer.echo(f"[{section}]")
            for key, value in values.items():
                say(f"{key} = {json.dumps(value)}")
            typer.echo("")
    known = load_baseline(settings)
    tell_set_up(settings, known.version if known else None)
    tell_unmeasured(settings, known)
    if (seed := source(settings)) != NONE:
        errors.print(seed, soft_wrap=True)
