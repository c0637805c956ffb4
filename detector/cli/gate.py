"""Commands of the gate."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.terminal import AsJson, ConfigFile, errors, load_config, print_json
from detector.console import say
from detector.errors import ConfigError, EndpointError

if TYPE_CHECKING:
    from detector.config import Config

gate_app = typer.Typer(invoke_without_command=True)


@gate_app.callback()
def gate(
    context: typer.Context,
    config: ConfigFile = None,
    decisions: Annotated[
        Path | None, typer.Option("--decisions", metavar="FILE", help="follow this decisions.jsonl instead of Kafka")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="port to listen on; 0: any")] = None,
) -> None:
    """Answer a gateway's authorisation sub-requests from decisions, until Ctrl-C or SIGTERM.

    Decisions come from Kafka ([kafka] in the configuration), or from the decisions.jsonl that `detector run LOG --out DIR` and
    `detector replay` write. The gateway asks /auth/nginx (nginx), or /auth (Envoy, Caddy, Traefik, HAProxy, APISIX); its
    settings are in deploy/gateways. [gate] says how clients and models are known, and what is answered when they are not.

    /readyz answers 200 once all decisions are read, /healthz while the process lives, /metrics for Prometheus.
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_config(config)
    changed = {name: value for name, value in (("decisions_file", decisions), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"gate": settings.gate.model_copy(update=changed)})
    _serve(settings)


def _serve(settings: "Config") -> None:
    from detector.distribution import install

    try:
        from detector.gate.serve import serve
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        raise ConfigError(f"the gate needs httptools, which is not installed: {install('gate')}") from error
    from detector.service.telemetry import logs

    seed = settings.engine.secret()  # without one, digests of clients are another set's after each start
    logs.configure(
        settings.service.log_level,
        seed=secrets.randbits(63) if seed is None else seed,
        secrets=settings.kafka.secrets(),
    )
    host = settings.gate.host

    def started(at: int) -> None:
        errors.print(f"answering on http://{host}:{at}: /auth/nginx for nginx, /auth for others", soft_wrap=True)

    serve(settings, started)


@gate_app.command("check")
def check(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="an address behind the gateway, such as a model's")],
    config: ConfigFile = None,
    blocked: Annotated[
        str | None,
        typer.Option("--blocked", metavar="HEADER", help="login of the canary, as 'Authorization: Bearer KEY'"),
    ] = None,
    allowed: Annotated[
        str | None, typer.Option("--allowed", metavar="HEADER", help="login of a client who must pass, likewise")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="of the requests")] = "GET",
    *,
    as_json: AsJson = False,
) -> None:
    """Ask a real gateway as a canary that must be refused, and as a caller who must not.

    The gate always blocks the client named by [gate] canary. Give the gateway a login of that name and one of another; without
    them the client's header is sent as it is, which suits a gateway that passes it on. Exit status 1 where the gateway does
    not obey.
    """
    from detector.gate.canary import check as ask
    from detector.gate.canary import read_credential

    before = None if context.parent is None else context.parent.params.get("config")  # `detector gate -c FILE check URL`
    section = load_config(config or before).gate
    found = ask(
        url,
        section,
        None if blocked is None else read_credential(blocked),
        None if allowed is None else read_credential(allowed),
        method,
    )
    if as_json:
        print_json([{"right": right, "finding": text} for right, text in found])
    else:
        for right, text in found:
            say(f"{'right' if right else 'WRONG'}: {text}")
    if not all(right for right, _ in found):
        raise EndpointError("the gateway does not obey the gate: check the header and path it asks with")
