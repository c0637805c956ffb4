"""The command that rehearses an incident against a staging endpoint."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.redteam import column_numbers
from detector.cli.terminal import AsJson, ConfigFile, errors, load_config, print_json
from detector.console import Console
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError, DrillError, OutputError
from detector.names import one_line

if TYPE_CHECKING:
    from detector.config import Config
    from detector.drill.plan import Login, Part, Step
    from detector.drill.watch import Watch

SEEDS = 1 << 31
LEAST_EXAMPLES = 40
ATTEMPTS = 2  # of a request whose connection fails: a drill shows how things are


def redteam_drill(
    attacks: Annotated[list[str], typer.Argument(metavar="ATTACK...", help="see `detector redteam list`")],
    url: Annotated[str, typer.Option("--url", help="the model behind its gateway, on a staging deployment of yours")],
    pool: Annotated[str, typer.Option("--pool", metavar="X", help="natural examples (digits, loans, .npy, .npz, .csv)")],
    config: ConfigFile = None,
    alerts: Annotated[Path | None, typer.Option("--alerts", metavar="FILE", help="JSON Lines where alerts arrive")] = None,
    decisions: Annotated[
        Path | None, typer.Option("--decisions", metavar="FILE", help="JSON Lines where decisions arrive")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="STEP", help="alert, indexed, decision, enforced; repeatable  [all watched]"),
    ] = None,
    thieves: Annotated[
        list[str] | None,
        typer.Option("--thief", metavar="CLIENT=HEADER", help="login of a thief, as 'acme=Authorization: Bearer KEY'"),
    ] = None,
    innocents: Annotated[
        list[str] | None, typer.Option("--innocent", metavar="CLIENT=HEADER", help="login of an innocent, likewise")
    ] = None,
    benign: Annotated[
        list[str] | None, typer.Option("--benign", metavar="PROFILE", help="innocents beside them; repeatable  [steady]")
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.01, max=1000, help="queries a second of each client")] = 5.0,
    budget: Annotated[int, typer.Option("--budget", "-n", min=1, help="queries of each thief at most")] = 200,
    innocent_queries: Annotated[int, typer.Option("--innocent-queries", min=1, help="queries of each innocent")] = 100,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", min=0, max=86_400, help="to wait after a thief's last query")
    ] = 60.0,
    wire: Annotated[
        str | None,
        typer.Option("--wire", metavar="W", help="how queries arrive: uint8, jpeg, grid, float16, decimals-4, ..."),
    ] = None,
    categorical: Annotated[str, typer.Option("--categorical", metavar="C,C", help="columns that hold codes, from 0")] = "",
    classes: Annotated[int | None, typer.Option("--classes", min=2, help="how many, where the model answers labels")] = None,
    request_key: Annotated[str, typer.Option("--request-key", help="where the rows go")] = "instances",
    response_key: Annotated[str, typer.Option("--response-key", help="where the answers are")] = "predictions",
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="the same seed asks the same queries  [another one each time]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="also write the report, as Markdown")] = None,
    *,
    kafka: Annotated[bool, typer.Option("--kafka", help="watch the topics of alerts and decisions of [kafka]")] = False,
    elasticsearch: Annotated[
        bool, typer.Option("--elasticsearch", help="look for the alerts in the Elasticsearch of [elasticsearch]")
    ] = False,
    tabular: Annotated[bool, typer.Option("--tabular", help="records, not pictures")] = False,
    i_own_this: Annotated[
        bool, typer.Option("--i-own-this", help="the address is not on this machine, and you may attack it")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rehearse an incident: attack a staging deployment, and see what arrives, when, and whether innocents are left alone.

    Each attack is a client of its own, beside innocents. Watched are alerts and decisions (files or Kafka), alerts in
    Elasticsearch, and whether the gateway refuses (403, 429) or the answers tell less; each with the seconds and queries since
    the thief's first. Without --thief and --innocent clients name themselves in the header of [gate] client_header, under names
    that are new each time.

    Exit status 1 where an expected step has not arrived within --patience, or an innocent was not left alone. Ctrl-C ends it
    and reports what was seen. Decisions about the thieves stay in force until they expire; `detector decisions lift` ends them.
    """
    from detector.clock import SystemClock
    from detector.drill.plan import Pace
    from detector.drill.rehearse import AHEAD_MS, Drill, rehearse, staged_target
    from detector.drill.telling import markdown, tell
    from detector.redteam.columns import TableColumns
    from detector.redteam.endpoint import Endpoint
    from detector.redteam.permission import permitted
    from detector.redteam.sessions import STEADY
    from detector.redteam.targets import examples

    settings = load_config(config)
    local = permitted(url, i_own_this)
    watched = {"alert": alerts is not None or kafka, "decision": decisions is not None or kafka, "indexed": elasticsearch}
    expected = _expected(expect, watched)
    clock = SystemClock()
    now_ms = clock.now_ms()
    number = now_ms % SEEDS if seed is None else seed
    natural = examples(pool)
    if len(natural) < LEAST_EXAMPLES:
        raise ConfigError(f"--pool {pool} holds {len(natural)} examples: a drill needs {LEAST_EXAMPLES} or more")
    columns = TableColumns.of(natural, column_numbers(categorical)) if tabular or categorical else None
    stamp = "".join(filter(str.isalnum, rfc3339(now_ms))).lower()
    names = _Names(settings.gate.client_header, stamp)
    hostile = names.parts(list(dict.fromkeys(attacks)), thieves or [], "--thief")
    usual = "image" if columns is None else "tabular"
    profiles = list(dict.fromkeys(benign or [STEADY[usual]]))  # type: ignore[index]  # it is one of the two
    beside = names.parts(profiles, innocents or [], "--innocent")
    endpoint = Endpoint(url, request_key, response_key, classes, direct=local, attempts=ATTEMPTS)
    with ExitStack() as stack:
        watches = _watches(settings, alerts, decisions, kafka=kafka)
        if elasticsearch:
            from detector.drill.index import IndexWatch

            asking = {part.login.client for part in (*hostile, *beside)}
            watches.append(IndexWatch(settings.elasticsearch, asking, now_ms - AHEAD_MS))
        for watch in watches:
            stack.callback(watch.close)
        target = staged_target(endpoint, natural, columns, beside[0].login, number).over(wire)
        drill = Drill(
            endpoint,
            target,
            hostile,
            beside,
            Pace(rate, budget, innocent_queries, patience),
            expected,
            number,
            decisions_watched=watched["decision"],
        )
        errors.print(f"asking {url} as {', '.join(part.login.client for part in (*hostile, *beside))}", soft_wrap=True)
        outcome = rehearse(drill, watches, clock, lambda text: errors.print(text, soft_wrap=True, markup=False))
    if as_json:
        print_json(outcome.to_dict())
    else:
        Console().print(tell(outcome))
    if out is not None:
        try:
            out.write_text(markdown(outcome), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.problems:
        raise DrillError("\n".join(map(one_line, outcome.problems)))


class _Names:
    """Names and logins of those who ask: as given, else new names in the gateway's own header."""

    def __init__(self, header: str, stamp: str) -> None:
        self._header = header
        self._stamp = stamp
        self._taken: set[str] = set()

    def parts(self, roles: list[str], given: list[str], option: str) -> "list[Part]":
        """Return who plays each role; raises `ConfigError` where there are not as many logins as roles."""
        from detector.drill.plan import Part

        if given and len(given) != len(roles):
            raise ConfigError(f"{option} is given {len(given)} times, for {len(roles)} clients ({', '.join(roles)})")
        logins = [self._read(text, option) for text in given] or [self._new(role) for role in roles]
        for login in logins:
            if login.client in self._taken:
                raise ConfigError(f"{option}: two clients are called {login.client!r}; each needs a login of its own")
            self._taken.add(login.client)
        return [Part(role, login) for role, login in zip(roles, logins, strict=True)]

    def _read(self, text: str, option: str) -> "Login":
        from detector.drill.plan import Login
        from detector.gate.canary import read_credential

        client, equals, header = text.partition("=")
        if not equals or not client.strip():
            raise ConfigError(f"{option} takes the client's name and a header, as 'acme=Authorization: Bearer KEY'")
        name, value = read_credential(header)
        return Login(client.strip(), {name: value})

    def _new(self, role: str) -> "Login":
        from detector.drill.plan import Login

        client = f"drill-{self._stamp}-{role}"
        return Login(client, {self._header: client})


def _expected(given: list[str] | None, watched: dict[str, bool]) -> "tuple[Step, ...]":
    from detector.drill.plan import STEPS

    for step in given or ():
        if step not in STEPS:
            raise ConfigError(f"--expect takes {', '.join(STEPS)}, not {step!r}")
        if not watched.get(step, True):
            how = "use --elasticsearch" if step == "indexed" else f"name --{step}s FILE, or --kafka"
            raise ConfigError(f"--expect {step}: nothing says where it arrives; {how}")
    return tuple(step for step in STEPS if (step in given if given else watched.get(step, True)))


def _watches(settings: "Config", alerts: Path | None, decisions: Path | None, *, kafka: bool) -> "list[Watch]":
    from detector.drill.watch import FileWatch, Watch, read_alert, read_decision

    watches: list[Watch] = []
    for path, read in ((alerts, read_alert), (decisions, read_decision)):
        if path is not None:
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise ConfigError(f"{path}: there is no such file, and none can come to be there")
            watches.append(FileWatch(path, read))
    if kafka:
        if not settings.kafka.bootstrap_servers:
            raise ConfigError("--kafka: [kafka] bootstrap_servers is not set")
        from detector.drill.topics import TopicWatch

        watches.append(TopicWatch(settings.kafka))
    return watches
