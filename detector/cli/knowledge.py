"""Commands for the baseline, and for why a client was alerted on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    tell_refused,
)
from detector.console import Console, say
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config

EXPLAINED = ("client", "campaign", "organization")
ACCEPTED = ("client", "campaign")

baseline_app = typer.Typer(help="The benign reference, and the thresholds calibrated on it.", no_args_is_help=True)


@baseline_app.command("fit")
def baseline_fit(
    logs: Logs,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for the baseline")],
    config: ConfigFile = None,
    log_format: LogFormat = None,
    *,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="CLIENT", help="leave out this client of the log; repeatable")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn the benign reference and its calibration from logs of traffic that is believed to be benign.

    Clients of the log that would be alerted on or stopped are named, with what to do about them.
    """
    from detector.baseline.store import save
    from detector.offline import replay as replaying

    if "-" in logs:
        raise ConfigError("a baseline is fitted in several passes over the log, so it cannot come from standard input")
    settings = load_config(config, log_format=log_format)
    tally = replaying.Read()
    try:
        with progress("fitting", engine=True) as show:
            fitted = replaying.fit(
                logs, settings, progress=lambda position: show(position, None), tally=tally, exclude=exclude or ()
            )
    finally:
        tell_refused(tally.tell())
    save(fitted, out)
    _show_baseline(out, as_json=as_json, beside={"reasons": tally.refusals.reasons})


@baseline_app.command("show")
def baseline_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a baseline")],
    config: ConfigFile = None,
    log: Annotated[
        list[str] | None, typer.Option("--log", metavar="LOG", help="recent traffic, to check that the calibration still fits")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a baseline holds, and the thresholds that follow from it under the configured budgets.

    With --log (repeatable), also show whether the clients there still match those that the baseline was calibrated on.
    """
    _show_baseline(folder, config, log, as_json=as_json)


@baseline_app.command("accept")
def baseline_accept(
    clients: Annotated[list[str], typer.Argument(metavar="CLIENT...", help="ids of clients of one kind, or of one campaign")],
    log: Annotated[list[str], typer.Option("--log", metavar="LOG", help="log with all their queries; repeatable")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for the new baseline; may be the old one")],
    actor: Annotated[str, typer.Option("--actor", help="who reviewed them")],
    reason: Annotated[str, typer.Option("--reason", help="why they are innocent")],
    baseline: BaselineDir = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="client or campaign (default: campaign for the id of one, else client)")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="which model, if the baseline knows several")] = None,
    config: ConfigFile = None,
    *,
    despite_construction: Annotated[
        bool,
        typer.Option(
            "--despite-construction",
            help="also accept evidence of construction: its channel then stops nobody any more, campaigns are stopped later",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add clients to a baseline that were alerted on or throttled as novel, and that a reviewer found innocent.

    They become calibration clients, with their own profile. Name clients of one kind together, and as many of a kind as you
    know. The reference does not change, so a service with the new baseline keeps its saved state. Decisions in force are not
    lifted.

    The cost: a thief who queries in the same way is no longer novel. If these clients have evidence in the channel foreign or
    cooccur, that channel's threshold rises above it for every client of the model. Such evidence grows with each query, so a
    long log of one such client silences the channel for most others. A shorter log costs less, but these clients may be alerted
    on later. Construction stops thieves as before; clients with evidence of it are refused.

    One campaign-… may be named instead, where its accounts are innocent: the bars of the model rise above its evidence, for all
    groups of accounts. The logs must be those of the run that found it, from its beginning.

    `baseline show --log` may still report drift, since it also compares shares. That ends when clients of this kind are as
    frequent in the calibration as in the traffic: accept more of them, or fit the baseline again.
    """
    from detector.baseline.accept import Review, accept
    from detector.baseline.accept_campaign import accept_campaign, bars_moved
    from detector.baseline.report import changes, report
    from detector.baseline.secret import settings_of
    from detector.baseline.store import save
    from detector.clock import SystemClock
    from detector.contracts.moment import rfc3339
    from detector.decisions.target import kind_of
    from detector.offline.explain.words import listed
    from detector.offline.replay import Read, load_baseline, read_batches

    if not actor.strip() or not reason.strip():
        raise ConfigError("--actor and --reason must not be empty: they are kept with the baseline")
    if kind not in {None, *ACCEPTED}:
        raise ConfigError(f"--type {kind}: such a subject cannot be accepted; known: {', '.join(ACCEPTED)}")
    together = any(kind_of(client, kind) == "campaign" for client in clients)
    if together and len(clients) > 1:
        raise ConfigError("accept one campaign at a time, and clients without it: the bars rise with each")
    settings = load_config(config, baseline)
    known = load_baseline(settings)
    if known is None:
        raise ConfigError("there is no baseline to accept clients into: name one with --baseline or [baseline] path")
    if model is None and len(known.models) > 1:
        raise ConfigError(f"the baseline knows several models, name one with --model: {listed(sorted(known.models))}")
    name = model or next(iter(known.models))
    review = Review(actor.strip(), rfc3339(SystemClock().now_ms()), reason.strip())
    tally = Read()
    with progress("accepting", engine=True) as show:
        read = read_batches(log, settings, progress=lambda position: show(position, None), tally=tally, schemas=known.schemas)
        engine = settings_of(settings, known)
        if together:
            found = accept_campaign(known, name, clients[0], read, engine, review, despite_construction=despite_construction)
        else:
            found = accept(known, name, clients, read, engine, review, despite_construction=despite_construction)
    tell_refused(tally.tell())
    save(found, out)
    changed = bars_moved(known, found, name) if together else changes(known, found, name, settings)
    if as_json:
        print_json({**report(out, settings), "changes": changed})
        return
    say(f"baseline {found.version} in {out}, before {known.version}")
    for sentence in changed:
        say(sentence)


def _show_baseline(
    folder: Path,
    config: Path | None = None,
    log: list[str] | None = None,
    *,
    as_json: bool,
    beside: Mapping[str, Any] | None = None,
) -> None:
    from detector.baseline.report import report, tell
    from detector.offline.replay import Read, drift_of, load_baseline

    settings = load_config(config, folder)
    drift = None
    known = load_baseline(settings) if log else None
    if log and known is not None:
        tally = Read()
        with progress("comparing", engine=True) as show:
            drift = drift_of(log, settings, known, progress=lambda position: show(position, None), tally=tally)
        tell_refused(tally.tell())
    content = report(folder, settings, drift)
    if as_json:
        print_json({**content, **(beside or {})})
    else:
        Console().print(tell(content))


def explain(
    client: Annotated[str, typer.Argument(help="the id of a client or of a campaign, or the name of an organisation")],
    kind: Annotated[
        str | None,
        typer.Option("--type", help="client, campaign or organization (default: campaign for the id of one, else client)"),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="which model, if the client uses several")] = None,
    results: Annotated[Path, typer.Option("--from", metavar="DIR", help="results of `replay`, `run --out` or `demo`")] = Path(
        "detector-demo"
    ),
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="file for the picture (PNG)")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain why a client, a campaign or an organisation was alerted on or stopped, in words, numbers and a picture."""
    from detector.decisions.target import kind_of
    from detector.offline.explain import explain as explain_client
    from detector.offline.explain import tell, to_dict
    from detector.offline.pictures import client_picture
    from detector.offline.replay import load_baseline

    if kind not in {None, *EXPLAINED}:
        raise ConfigError(f"--type {kind}: there is nothing to explain of such a subject; known: {', '.join(EXPLAINED)}")
    beside = results / "detector.toml"
    settings = load_config(config if config is not None or not beside.exists() else beside, baseline)
    if settings.baseline.path is None:
        settings = settings.with_baseline(_recorded_baseline(results))
    target = picture or results / f"{_file_name(client)}.png"
    whose = kind_of(client, kind)
    if whose == "campaign":
        _explain_campaign(client, results, settings, target, as_json=as_json)
        return
    if whose == "organization":
        _explain_organization(client, model, results, settings, target, as_json=as_json)
        return
    with progress("replaying the log", engine=True) as show:
        found = explain_client(client, model, results, settings, load_baseline(settings), progress=show)
    client_picture(found, target)
    if as_json:
        print_json({**to_dict(found), "picture": str(target)})
    else:
        Console().print(tell(found))
        say(f"picture: {target}")


def _explain_campaign(campaign: str, results: Path, settings: "Config", target: Path, *, as_json: bool) -> None:
    from detector.offline.explain.campaign import explain_campaign, to_dict
    from detector.offline.explain.campaign_terminal import tell_campaign
    from detector.offline.pictures.campaign import campaign_picture
    from detector.offline.replay import load_baseline

    with progress("replaying the log", engine=True) as show:
        found = explain_campaign(campaign, results, settings, load_baseline(settings), progress=show)
    campaign_picture(found, target)
    if as_json:
        print_json({**to_dict(found), "picture": str(target)})
    else:
        Console().print(tell_campaign(found))
        say(f"picture: {target}")


def _explain_organization(
    organization: str, model: str | None, results: Path, settings: "Config", target: Path, *, as_json: bool
) -> None:
    from detector.offline.explain.organization import explain_organization, to_dict
    from detector.offline.explain.organization_terminal import tell_organization
    from detector.offline.pictures.organization import organization_picture
    from detector.offline.replay import load_baseline

    with progress("replaying the log", engine=True) as show:
        found = explain_organization(organization, model, results, settings, load_baseline(settings), progress=show)
    organization_picture(found, target)
    if as_json:
        print_json({**to_dict(found), "picture": str(target)})
    else:
        Console().print(tell_organization(found))
        say(f"picture: {target}")


def _recorded_baseline(results: Path) -> Path | None:
    """Return the baseline that a run's summary names."""
    try:
        recorded = json.loads((results / "summary.json").read_bytes()).get("baseline")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(recorded) if isinstance(recorded, str) else None


def _file_name(client: str) -> str:
    return "".join(character if character.isalnum() or character in "-_." else "_" for character in client)[:100]
