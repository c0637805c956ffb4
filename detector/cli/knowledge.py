"""Commands that look into what is known: the baseline, and why a client was found."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.cli.terminal import (
    AsJson,
    BaselineDir,
    ConfigFile,
    Logs,
    load_config,
    print_json,
    progress,
)
from detector.errors import ConfigError

baseline_app = typer.Typer(help="What benign traffic looks like, and the calibration of the bars.", no_args_is_help=True)


@baseline_app.command("fit")
def baseline_fit(
    logs: Logs,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the baseline goes")],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Learn the benign reference and its calibration from logs of traffic that is believed to be benign."""
    from detector import replay as replaying
    from detector.models.baseline import save

    if "-" in logs:
        raise ConfigError("a baseline is fitted in two passes over the log, so it cannot come from standard input")
    settings = load_config(config)
    with progress("fitting") as show:
        fitted = replaying.fit(logs, settings, progress=lambda position: show(position, None))
    save(fitted, out)
    _show_baseline(out, as_json=as_json)


@baseline_app.command("show")
def baseline_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a baseline")],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell what a baseline holds, and which bars follow from it under the configured budgets."""
    _show_baseline(folder, config, as_json=as_json)


def _show_baseline(folder: Path, config: Path | None = None, *, as_json: bool) -> None:
    from detector.baseline_report import report, tell

    settings = load_config(config, folder)
    content = report(folder, settings)
    if as_json:
        print_json(content)
    else:
        Console(highlight=False).print(tell(content))


def explain(
    client: Annotated[str, typer.Argument(help="the client's id")],
    model: Annotated[str | None, typer.Option("--model", help="which model, if the client uses several")] = None,
    results: Annotated[Path, typer.Option("--from", metavar="DIR", help="results of `replay`, `run --out` or `demo`")] = Path(
        "detector-demo"
    ),
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="where the picture goes (PNG)")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell why a client was alerted on, throttled or stopped, in words, numbers and a picture."""
    from detector.explain import explain as explain_client
    from detector.explain import tell, to_dict
    from detector.pictures import client_picture
    from detector.replay import load_baseline

    beside = results / "detector.toml"
    settings = load_config(config if config is not None or not beside.exists() else beside, baseline)
    if settings.baseline.path is None:
        settings = settings.with_baseline(_recorded_baseline(results))
    with progress("replaying the log") as show:
        found = explain_client(client, model, results, settings, load_baseline(settings), progress=show)
    target = picture or results / f"{_file_name(client)}.png"
    client_picture(found, target)
    if as_json:
        print_json({**to_dict(found), "picture": str(target)})
    else:
        Console(highlight=False).print(tell(found))
        typer.echo(f"picture: {target}")


def _recorded_baseline(results: Path) -> Path | None:
    """Return the baseline that a run's summary names."""
    try:
        recorded = json.loads((results / "summary.json").read_bytes()).get("baseline")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(recorded) if isinstance(recorded, str) else None


def _file_name(client: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in client)[:100]
