"""Commands of ownership: committing to marks, testing a suspect, and evidence for others."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.redteam import bearer
from detector.cli.terminal import AsJson, ConfigFile, LogFormat, Logs, errors, load_config, print_json, progress, require_logs
from detector.console import Console
from detector.errors import ConfigError, OutputError, OwnershipError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.ownership.commit import Choice
    from detector.perturb.committed import Committed

ownership_app = typer.Typer(
    help="Ownership: whether a suspect was copied from what this model's clients were told.", no_args_is_help=True
)

Model = Annotated[str | None, typer.Option("--model", metavar="ID", help="model, where the log has several")]
CommitmentFile = Annotated[
    Path | None, typer.Option("--commitment", metavar="FILE", help="commitment instead of the configured one")
]
MostFlips = Annotated[
    float,
    typer.Option("--most-flips", min=0.001, max=0.2, metavar="SHARE", help="of the labels of the log that may change, at most"),
]
SuspectLog = Annotated[list[str], typer.Option("--log", metavar="LOG", help="log with the marked answers; repeatable")]
Roots = Annotated[
    list[Path] | None,
    typer.Option("--tsa-root", metavar="PEM", help="root certificate of the time-stamping authority; repeatable"),
]


@ownership_app.command("commit")
def ownership_commit(
    logs: Logs,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    model: Model = None,
    model_file: Annotated[
        Path | None, typer.Option("--model-file", metavar="FILE", help="the model, of which the hash is committed to")
    ] = None,
    most_flips: MostFlips = 0.02,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="the commitment")] = Path("ownership.json"),
    *,
    as_json: AsJson = False,
) -> None:
    """Decide about the marks by a log of before, and write what was decided, to be time-stamped before the first mark.

    The strength is the largest that changes no more labels of this log than --most-flips, unless [ownership] strength says one.
    An existing commitment is never overwritten.
    """
    from detector import private
    from detector.ownership.commit import committed

    settings = load_config(config, None, log_format)
    _tell_open_key(settings.ownership.key_file)
    if out.exists():
        raise ConfigError(f"{out}: there is a commitment already, and marks may depend on it: name another file with --out")
    made, choice = committed(_sampled(logs, settings, model), settings.ownership, model_file, most_flips=most_flips)
    content = made.to_bytes()
    try:
        private.write_new(out, content)
    except OSError as error:
        raise OutputError(f"{out}: cannot write the commitment: {error.strerror or error}") from error
    request = _request(out)
    if as_json:
        print_json({"commitment": str(out), "request": request, **_choice(made, choice)})
        return
    console = Console()
    console.print(
        f"{out}: model {made.model}, epoch {made.epoch}, {_said(made.strength, choice, made.queries)}.", soft_wrap=True
    )
    if request is not None:
        console.print(
            f"{request}: the request for a time stamp. Post it to an authority before the first answer is marked: without "
            "a stamp nothing can be proved.",
            soft_wrap=True,
        )


def _tell_open_key(path: Path | None) -> None:
    """Warn where others may read the master key: whoever has it can take every mark out, or accuse in the owner's name."""
    try:
        open_to = 0 if path is None else path.stat().st_mode & 0o077
    except OSError:  # it is read next, and that says why it cannot be
        return
    if open_to:
        errors.print(f"warning: others may read {path}: chmod 600 {path}", soft_wrap=True)


def _request(path: Path) -> str | None:
    from detector.ownership.stamp import write_request

    try:
        return str(write_request(path))
    except ConfigError as error:
        errors.print(f"no request for a time stamp: {error}", soft_wrap=True)
        return None


def _choice(made: "Committed", choice: "Choice") -> dict[str, object]:
    return {
        "model": made.model,
        "epoch": made.epoch,
        "strength": choice.strength,
        "flips": choice.flips,
        "flips_worst_of_20": choice.worst,
        "dawn_rate": made.dawn_rate,
        "queries": made.queries,
    }


def _said(strength: float, choice: "Choice", queries: int) -> str:
    return (
        f"strength {strength:g}: {choice.flips:.1%} of the labels of {queries:,} inputs change, "
        f"{choice.worst:.1%} under the worst key of 20"
    )


@ownership_app.command("strength")
def ownership_strength(
    logs: Logs,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    model: Model = None,
    most_flips: MostFlips = 0.02,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell which strength a commitment would choose by a log, and what others would change. Writes nothing."""
    from detector.ownership.commit import choices, frame_of, strength_for

    sample = _sampled(logs, load_config(config, None, log_format), model)
    frame = frame_of(sample.X)
    best = strength_for(frame, sample, most_flips)
    others = choices(frame, sample, (0.1, 0.25, 0.5, 1.0, 1.5))
    if as_json:
        print_json({"chosen": best._asdict(), "others": [one._asdict() for one in others], "queries": len(sample.X)})
        return
    console = Console()
    console.print(f"chosen: {_said(best.strength, best, len(sample.X))}", soft_wrap=True)
    for one in others:
        console.print(_said(one.strength, one, len(sample.X)), soft_wrap=True)


def _sampled(logs: list[str], settings: "Config", model: str | None):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from detector.ownership.answers import events_of
    from detector.ownership.commit import sample_of

    require_logs(logs)
    with progress("reading") as show:
        return sample_of(events_of(logs, settings, model, show), model)


@ownership_app.command("stamp")
def ownership_stamp(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a commitment, a chain or a package")],
    response: Annotated[
        Path | None,
        typer.Option("--response", metavar="TSR", help="answer of the authority to check; else a request is written"),
    ] = None,
    roots: Roots = None,
) -> None:
    """Write the request for a time stamp of a file (RFC 3161), or check the answer to it. Nothing is sent."""
    from detector.ownership.stamp import stamped_at, write_request

    if response is None:
        Console().print(f"{write_request(file)}: post it to a time-stamping authority", soft_wrap=True)
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    time = stamped_at(content, response, roots or [])
    Console().print(f"{file}: was there on {time:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)


@ownership_app.command("verify")
def ownership_verify(
    suspect: Annotated[str, typer.Option("--suspect", metavar="MODEL", help="http(s)://..., module:function, FILE.onnx, ...")],
    log: SuspectLog,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    commitment: CommitmentFile = None,
    client: Annotated[str | None, typer.Option("--client", metavar="X", help="test the keys of this client")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="report, pictures, and the suspect's answers")] = Path(
        "report"
    ),
    most_queries: Annotated[int, typer.Option("--max-queries", min=50, max=100_000, metavar="N", help="to the suspect")] = 700,
    counterfeits: Annotated[int, typer.Option("--counterfeits", min=99, max=10_000_000, metavar="N")] = 20_000,
    tried: Annotated[
        int, typer.Option("--suspects", min=1, metavar="N", help="suspects that were tested with these keys, with this one")
    ] = 1,
    stamp: Annotated[Path | None, typer.Option("--timestamp", metavar="TSR", help="time stamp of the commitment")] = None,
    roots: Roots = None,
    own_url: Annotated[
        list[str] | None, typer.Option("--own-url", metavar="URL", help="where the model itself answers; repeatable")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="VAR", help="environment variable of a bearer token for the suspect")
    ] = None,
    class_names: Annotated[
        str, typer.Option("--class-names", metavar="C,C", help="labels of the suspect, in the order of the model's classes")
    ] = "",
    api_model: Annotated[
        str | None, typer.Option("--api-model", metavar="ID", help="the suspect's id for APIs in the style of OpenAI")
    ] = None,
    *,
    all_clients: Annotated[bool, typer.Option("--all-clients", help="test the keys of all clients of the log")] = False,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="leave the suspect's probabilities out")] = False,
    may_ask: Annotated[
        bool, typer.Option("--i-may-ask", help="the suspect is elsewhere, and its terms allow to ask it")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test whether a suspect was trained on what clients of this model were told.

    Exit status 0 where the test was made and may be a proof, whatever came out; 1 where nothing could be tested, or nothing
    can be proved since the commitment has no time stamp from before the first mark.
    """
    from detector.ownership.answers import events_of, read_answers
    from detector.ownership.report import sentences, to_dict, write_report
    from detector.ownership.stamp import stamped_at
    from detector.ownership.suspect import ask
    from detector.ownership.verify import Settings, plan, verify
    from detector.perturb.committed import read_committed
    from detector.perturb.keys import master_key
    from detector.redteam.opened import Opening, open_model

    if all_clients == (client is not None):
        raise ConfigError("whose keys? Name a client with --client, or test all with --all-clients")
    settings = load_config(config, None, log_format)
    path = _commitment_of(settings, commitment)
    made, master = read_committed(path), master_key(settings.ownership.secret())
    made.check_key(master, str(path))
    _is_another(suspect, [*(own_url or []), *_own_urls(settings)])
    stamped = None if stamp is None else stamped_at(path.read_bytes(), stamp, roots or [])
    require_logs(log)
    how = Settings(most_queries, counterfeits, labels_only, tried)
    with progress("reading") as show:
        events = events_of(log, settings, made.model, show)
        read = read_answers(events, made.dimension, made.classes, most_queries)
    chosen = plan(read, made, master, client, how)
    asking = Opening(
        own=may_ask,
        permission="--i-may-ask if its terms allow to ask it",
        classes=made.classes,
        names=_names(class_names, made.classes),
        model=api_model,
        headers=bearer(token_env),
    )
    opened = open_model(suspect, chosen.inputs().astype(float), asking)
    with errors.status(f"asking {opened.id}") as status:

        def asked(count: int) -> None:
            status.update(f"asking {opened.id}: {count} of {len(chosen.answers)}")

        said = ask(chosen.inputs(), opened.predict, opened.id, out / "answers.jsonl", asked)
        found = verify(
            chosen,
            said,
            opened.id,
            how,
            labels_only=opened.labels_only,
            stamped=stamped,
            note=lambda keys: status.update(f"testing: {keys:,} of {counterfeits + 1:,} keys"),
        )
    files = write_report(found, out, dt.datetime.now(dt.UTC))
    if as_json:
        print_json(to_dict(found))
    else:
        console = Console()
        for sentence in sentences(found):
            console.print(sentence, soft_wrap=True, markup=False)
        console.print(f"{files[0]}: the report", soft_wrap=True)
    _end_unprovable(found.unprovable)


def _names(text: str, classes: int) -> tuple[str, ...]:
    from detector.hardening.defences import split_names

    names = tuple(split_names(text))
    if names and len(names) != classes:
        raise ConfigError(f"--class-names names {len(names)} classes, and the model has {classes}")
    return names


def _own_urls(settings: "Config") -> list[str]:
    perturb = settings.perturb
    return [f"http://{perturb.host}:{perturb.port}", *([] if perturb.upstream is None else [perturb.upstream])]


def _is_another(suspect: str, own: list[str]) -> None:
    """Raise `OwnershipError` where the suspect is the model itself."""
    from urllib.parse import urlsplit

    def place(url: str) -> tuple[str | None, int | None]:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"{url}: is no address: {error}") from error
        here = {"localhost", "::1", "0.0.0.0", "::"}  # noqa: S104  # what a proxy listens on, not what is opened here
        host = "127.0.0.1" if parts.hostname in here else parts.hostname
        return host, port or {"http": 80, "https": 443}.get(parts.scheme)

    if suspect.startswith(("http://", "https://")) and place(suspect) in map(place, own):
        raise OwnershipError(f"{suspect} is the model itself: a suspect is somebody else's")


@ownership_app.command("chain")
def ownership_chain(
    log: SuspectLog,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    commitment: CommitmentFile = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="the chain")] = Path("chain.jsonl"),
    *,
    whole: Annotated[bool, typer.Option("--whole", help="the last hour is over, and nothing of it is missing")] = False,
) -> None:
    """Write the hash chain over the marked answers, one link an hour, and the request for its time stamp."""
    from detector import private
    from detector.ownership.package import link_line, sealed
    from detector.perturb.committed import read_committed

    settings = load_config(config, None, log_format)
    require_logs(log)
    links = sealed(log, settings, read_committed(_commitment_of(settings, commitment)).model, whole=whole)
    if not links:
        raise OwnershipError(
            "the log has no hour of marked answers that is over, so there is nothing to chain; --whole says that the last one "
            "is over"
        )
    try:
        private.write(out, b"".join(map(link_line, links)))
    except OSError as error:
        raise OutputError(f"{out}: cannot write the chain: {error.strerror or error}") from error
    request = _request(out)
    said = "" if request is None else f", and {request}, the request for its time stamp"
    Console().print(f"{out}: {len(links)} hours, {sum(link.records for link in links):,} answers{said}", soft_wrap=True)


def _commitment_of(settings: "Config", commitment: Path | None) -> Path:
    path = commitment or settings.ownership.commitment
    if path is None:
        raise ConfigError("which commitment? Name it with --commitment or in [ownership] commitment")
    return path


@ownership_app.command("export")
def ownership_export(
    client: Annotated[str, typer.Option("--client", metavar="X", help="whose answers are evidence")],
    log: SuspectLog,
    config: ConfigFile = None,
    log_format: LogFormat = None,
    commitment: CommitmentFile = None,
    stamp: Annotated[Path | None, typer.Option("--timestamp", metavar="TSR", help="time stamp of the commitment")] = None,
    decisions: Annotated[Path | None, typer.Option("--decisions", metavar="FILE", help="decisions.jsonl")] = None,
    alerts: Annotated[Path | None, typer.Option("--alerts", metavar="FILE", help="alerts.jsonl")] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="DIR", help="report of `ownership verify`")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="the package")] = Path("evidence.zip"),
    *,
    as_json: AsJson = False,
) -> None:
    """Write the evidence about a client into one file that anybody can check."""
    from detector.ownership.package import Contents, export
    from detector.perturb.committed import read_committed

    settings = load_config(config, None, log_format)
    path = _commitment_of(settings, commitment)
    model = read_committed(path).model
    require_logs(log)
    if report is not None and not report.is_dir():
        raise ConfigError(f"{report}: there is no such folder")
    contents = Contents(path, stamp, decisions, alerts, report)
    made = export(log, settings, model, client, contents, out)
    if as_json:
        print_json({"package": str(out), **made._asdict()})
        return
    Console().print(
        f"{out}: {made.records:,} marked answers, in a chain of {made.hours} hours over {made.leaves:,}; SHA-256 {made.digest}",
        soft_wrap=True,
    )


@ownership_app.command("check")
def ownership_check(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="evidence.zip")],
    roots: Roots = None,
    chain: Annotated[
        Path | None, typer.Option("--chain", metavar="FILE", help="chain that was kept elsewhere, to compare with")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check an evidence package, offline.

    Exit status 1 where it was changed, and the first bad record is named; or where its commitment was stamped after its first
    record, so that nothing can be proved.
    """
    from detector.ownership.check import check

    found = check(package, roots or [], chain)
    if as_json:
        stamped = None if found.stamped is None else found.stamped.isoformat()
        print_json({**found._asdict(), "stamped": stamped})
        _end_unprovable(found.unprovable)
        return
    console = Console()
    console.print(
        f"whole: {found.records:,} marked answers to {found.client} of model {found.model}, "
        f"in a chain of {found.hours} hours over {found.leaves:,} answers",
        soft_wrap=True,
        markup=False,
    )
    if found.stamped is None:
        why = "--tsa-root names no authority" if found.has_stamp else "the package has none, so that nothing can be proved"
        console.print(f"The time stamp of the commitment was not checked: {why}.", soft_wrap=True)
    else:
        console.print(f"The commitment was there on {found.stamped:%Y-%m-%d %H:%M:%S} UTC.", soft_wrap=True)
    if chain is not None:
        console.print(f"{chain}: its {found.compared} hours are those of the package.", soft_wrap=True)
    if found.unread:
        console.print(
            f"{found.unread:,} records are in another format: whom they were told to was not checked.", soft_wrap=True
        )
    if found.unprovable is not None:
        from detector.ownership.report import NOT_PROVABLE

        console.print(f"{NOT_PROVABLE}. Why: {found.unprovable}.", soft_wrap=True)
    _end_unprovable(found.unprovable)


def _end_unprovable(why: str | None) -> None:
    if why is not None:
        raise typer.Exit(1)
