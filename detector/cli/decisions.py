"""Commands for decisions: what gateways are told, and telling them oneself."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.decisions_told import show, tell_published, tell_unreadable, told, whom
from detector.cli.terminal import AsJson, ConfigFile, errors, load_config, print_json
from detector.console import say
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.contracts.decision import Action, Parameters
    from detector.decisions.log import DecisionLog

decisions_app = typer.Typer(
    help="Decisions that gateways carry out: those of the detector, and those of people.", no_args_is_help=True
)

FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="a decisions file (JSON Lines), as replay and run write it")
]
WhomArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="the client's id, as in the log")]
KindOption = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="client, api_key, user, organization, ip, cidr or campaign (default: campaign for the id of one, else client)",
    ),
]
ModelsOption = Annotated[
    list[str] | None, typer.Option("--model", "-m", metavar="MODEL", help="for this model only; may be repeated (default: all)")
]
AddressOption = Annotated[str | None, typer.Option("--address", metavar="IP", help="only where the id comes from this address")]
ActorOption = Annotated[
    str, typer.Option("--actor", metavar="WHO", envvar="DETECTOR_ACTOR", help="who decides, such as soc:j.doe")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="why, for the operator and the audit trail")]
ForOption = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="how long, such as 30m, 12h or 7d (default: as [policy] has it)")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="when it ends (RFC 3339)")]
LiftedOption = Annotated[bool, typer.Option("--until-lifted", help="no end: it holds until somebody lifts it")]
TellOption = Annotated[
    str | None, typer.Option("--tell", metavar="TEXT", help="what the caller may be shown: no thresholds, no detector names")
]
RateOption = Annotated[
    int | None,
    typer.Option("--rate", min=0, max=1_000_000, metavar="N", help="of a throttle: requests a minute (default: [policy])"),
]
SimulatedOption = Annotated[bool, typer.Option("--simulated", help="gateways count it and do not carry it out")]


_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_MS = 366 * 86_400_000


@decisions_app.command("list")
def decisions_list(
    config: ConfigFile = None,
    file: FileOption = None,
    action: Annotated[str | None, typer.Option("--action", metavar="ACTION", help="only these")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="only those that hold for it")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000_000, help="at most so many, the latest")] = 100,
    *,
    manual: Annotated[bool, typer.Option("--manual", help="only those of people")] = False,
    ended: Annotated[bool, typer.Option("--all", help="also those that have ended, as far as they are still there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines: the decisions as gateways read them")] = False,
) -> None:
    """List the decisions, the latest first."""
    from detector.contracts.decision import LADDER

    if action is not None and action not in LADDER:
        raise ConfigError(f"--action {action}: there is no such action; known: {', '.join(LADDER)}")
    register, now = _log(load_config(config), file).register(), _now()
    found = [
        held
        for held in register
        if (ended or held.live(now))
        and (not manual or held.origin == "manual")
        and (action is None or held.action == action)
        and (model is None or held.covers(model))
    ]
    found.sort(key=lambda held: (held.issued_ms, held.key), reverse=True)
    show(found[:limit], register, now, as_json=as_json)
    if len(found) > limit:
        errors.print(f"{len(found) - limit:,} more: see --limit")
    tell_unreadable(register)


@decisions_app.command("show")
def decisions_show(
    subject: WhomArgument,
    config: ConfigFile = None,
    file: FileOption = None,
    kind: KindOption = None,
    address: AddressOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show all that is decided about a subject, and what is in force for each model."""
    from detector.decisions.target import kind_of, target_of
    from detector.names import printable

    register, now = _log(load_config(config), file).register(), _now()
    target = target_of(kind_of(subject, kind), subject, address)
    about = register.about(target)
    models = sorted({model for held in about for model in held.models or ()})
    in_force = {model: register.in_force(target, model, now) for model in models}
    if any(held.models is None for held in about):
        in_force["*"] = register.in_force(target, "", now)
    campaigns = register.naming(target, now)
    if as_json:
        print_json(
            {
                "subject": {"type": target.type, "id": target.id},
                "in_force": {
                    model: None if held is None else json.loads(held.data) for model, held in sorted(in_force.items())
                },
                "decisions": [json.loads(held.data) for held in about],
                "named_by": [json.loads(held.data) for held in campaigns],
            }
        )
    elif not about:
        say(f"nothing is decided about {target.type} {target.id}")
    else:
        show(about, register, now, as_json=False)
        for model, held in sorted(in_force.items()):
            where = "every other model" if model == "*" else f"model {model}"
            say(f"in force on {where}: {'nothing' if held is None else told(held)}")
        for held in about:
            decision = held.decision
            say(f"{held.decision_id}: {decision.reason.admin}")
    for held in [] if as_json else campaigns:
        say(f"named by {printable(held.target.id, 256)}: {told(held)}")
    tell_unreadable(register)


def _refuse_protected(settings: "Config", kind: str, subject: str) -> None:
    from detector.contracts.decision import CLIENT_KINDS

    policy = settings.policy
    protected = {"organization": ("never_block_organizations", policy.never_block_organizations)}
    protected |= dict.fromkeys(CLIENT_KINDS, ("never_block", policy.never_block))
    name, listed = protected.get(kind, ("", ()))
    if subject in listed:
        raise ConfigError(f"{subject!r} is on [policy] {name}: take it off that list first, or throttle it")


def _command(action: "Action", purpose: str) -> Callable[..., None]:
    """Return the command that publishes an action."""

    def command(
        subject: WhomArgument,
        actor: ActorOption,
        reason: ReasonOption,
        config: ConfigFile = None,
        file: FileOption = None,
        models: ModelsOption = None,
        kind: KindOption = None,
        address: AddressOption = None,
        lasting: ForOption = None,
        until: UntilOption = None,
        told: TellOption = None,
        rate: RateOption = None,
        *,
        until_lifted: LiftedOption = False,
        simulated: SimulatedOption = False,
        as_json: AsJson = False,
    ) -> None:
        from detector.decisions.log import decide
        from detector.decisions.manual import Order
        from detector.decisions.target import kind_of, target_of

        settings = load_config(config)
        if action in {"perturb", "block"}:
            _refuse_protected(settings, kind_of(subject, kind), subject)
        if rate is not None and action != "throttle":
            raise ConfigError("--rate is for a throttle")
        order = Order(
            target_of(kind_of(subject, kind), subject, address),
            tuple(models or ()),
            action,
            actor,
            reason,
            _end(settings, action, lasting, until, until_lifted=until_lifted),
            told,
            _parameters(settings, action, rate),
            simulated,
        )
        tell_published([decide(_log(settings, file), order, _now)], as_json=as_json)

    command.__doc__ = purpose
    return command


for _action, _purpose in {
    "block": "Block a client: gateways refuse its queries.",
    "throttle": "Throttle a client: gateways let it send so many requests a minute.",
    "perturb": "Perturb a client's answers: it is told less of them; see the page on perturbation.",
    "allow": "Allow a client: until this ends, the detector alerts on it and gateways do not stop it.",
}.items():
    decisions_app.command(_action)(_command(_action, _purpose))  # type: ignore[arg-type]


@decisions_app.command("lift")
def decisions_lift(
    subject: WhomArgument,
    actor: ActorOption,
    reason: ReasonOption,
    config: ConfigFile = None,
    file: FileOption = None,
    models: ModelsOption = None,
    kind: KindOption = None,
    address: AddressOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Lift what is in force about a client, the detector's decisions and those of people."""
    from detector.decisions.log import decide
    from detector.decisions.manual import lifts
    from detector.decisions.target import kind_of, target_of

    log = _log(load_config(config), file)
    orders = lifts(
        log.register(), target_of(kind_of(subject, kind), subject, address), tuple(models or ()), (actor, reason), _now()
    )
    tell_published([decide(log, order, _now) for order in orders], as_json=as_json)


@decisions_app.command("follow")
def decisions_follow(
    config: ConfigFile = None,
    file: FileOption = None,
    *,
    beginning: Annotated[bool, typer.Option("--from-beginning", help="first all that are there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines: the decisions as gateways read them")] = False,
) -> None:
    """Print decisions as they are made, until Ctrl-C."""
    from detector.decisions.register import Register
    from detector.names import harmless_json

    register = Register()
    for key, data in _log(load_config(config), file).records(beginning=beginning, stop=lambda: False):
        held = register.take(data, key)
        if held is None or not data:
            continue
        typer.echo(harmless_json(held.data.decode())) if as_json else say(f"{whom(held)}: {told(held)}")


def _log(settings: "Config", file: Path | None) -> "DecisionLog":
    """Return the decisions file that is named or configured, else the decisions topic."""
    from detector.decisions.file import DecisionFile, audit_beside

    path = file or (None if settings.kafka.bootstrap_servers else settings.decisions.file)
    if path is not None:
        if not path.exists():
            errors.print(f"{path}: there is no such file yet", soft_wrap=True, markup=False)
        return DecisionFile(path, settings.decisions.audit_file or audit_beside(path))
    if not settings.kafka.bootstrap_servers:
        raise ConfigError(
            "where are the decisions? Name a file with --file or [decisions] file, or the broker in [kafka] bootstrap_servers"
        )
    from detector.cli.kafka import connection_of
    from detector.service.kafka.decisions import KafkaDecisions
    from detector.service.kafka.topics import Topics

    return KafkaDecisions(connection_of(settings), Topics.under(settings.kafka.prefix))


def _now() -> int:
    from detector.clock import SystemClock

    return SystemClock().now_ms()


def _parameters(settings: "Config", action: str, rate: int | None) -> "Parameters | None":
    from detector.contracts.decision import Parameters

    if action == "block":
        return Parameters(status_code=403)
    if action == "throttle":
        allowed = settings.policy.requests_per_minute if rate is None else rate
        return Parameters(requests_per_minute=allowed, retry_after_seconds=60)
    return None


def _end(settings: "Config", action: str, lasting: str | None, until: str | None, *, until_lifted: bool) -> int | None:
    """Return when a decision ends, None where it holds until it is lifted. Raises `ConfigError` for more than one end."""
    from detector.contracts.moment import parse_rfc3339

    if sum((lasting is not None, until is not None, until_lifted)) > 1:
        raise ConfigError("--for, --until and --until-lifted exclude each other")
    if until_lifted:
        return None
    if until is not None:
        try:
            return parse_rfc3339(until)
        except ValueError as error:
            raise ConfigError(f"--until {until}: {error}") from error
    if lasting is None:
        policy = settings.policy
        minutes = {
            "block": policy.block_minutes,
            "throttle": policy.throttle_minutes,
            "perturb": policy.perturb_minutes,
            "allow": settings.decisions.allow_minutes,
        }
        return _now() + int(minutes[action] * 60_000)
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", lasting)
    length = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < length <= _LONGEST_MS:
        raise ConfigError(f"--for {lasting}: write 90s, 30m, 12h or 7d, at most 366d; or say --until-lifted")
    return _now() + length
