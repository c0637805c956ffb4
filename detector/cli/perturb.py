"""Commands for output perturbation: the proxy, and the table of what it costs whom."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detector.cli.terminal import AsJson, ConfigFile, check_place, errors, load_config, print_json, write_table
from detector.console import Console
from detector.errors import ConfigError

perturb_app = typer.Typer(
    help="Output perturbation: clients under a perturb decision are told less of their answers.", no_args_is_help=True
)


@perturb_app.command("proxy")
def perturb_proxy(
    config: ConfigFile = None,
    upstream: Annotated[
        str | None, typer.Option("--upstream", metavar="URL", help="the model server, http://host:port")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, metavar="PORT", help="its port; 0: any")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="MODE", help="top1, label, mislead, or none: only marks")
    ] = None,
) -> None:
    """Run the second upstream of a gateway: all that is asked here is answered perturbed. Ctrl-C ends it."""
    import asyncio

    from pydantic import ValidationError

    from detector.config import PerturbSection
    from detector.perturb.serve import serve
    from detector.perturb.settings import policy_of
    from detector.perturb.upstream import Upstream

    settings = load_config(config)
    section = settings.perturb
    given = {"upstream": upstream, "host": host, "port": port, "mode": mode}
    try:
        changed = {name: value for name, value in given.items() if value is not None}
        section = PerturbSection.model_validate({**section.model_dump(), **changed})
    except ValidationError as error:
        raise ConfigError("\n".join(map(_explained, error.errors()))) from error
    if section.upstream is None:
        raise ConfigError("where is the model server? Name it with --upstream or in [perturb] upstream")
    policy, warning = policy_of(section, settings.ownership)
    if warning is not None:
        errors.print(f"detector: {warning}", soft_wrap=True)
    server = Upstream.of(section.upstream, section.timeout_seconds)

    def tell(sentence: str) -> None:
        errors.print(sentence, soft_wrap=True)

    address = (section.host, section.port)
    asyncio.run(serve(server, policy, address, most=section.max_connections, metrics_port=section.metrics_port, tell=tell))


def _explained(entry: Any) -> str:
    message = entry["msg"].removeprefix("Value error, ")
    return f"--{entry['loc'][0]}: {message}" if entry["loc"] else message


@perturb_app.command("table")
def perturb_table(
    budget: Annotated[int, typer.Option("--queries", min=20, max=5000, metavar="N", help="of each thief")] = 300,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=20, metavar="N", help="thieves of each kind")] = 3,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="also write it as Markdown")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print what each mode costs a thief (fidelity of the copy) and the honest (calibration error), on two data sets."""
    from detector.redteam.perturbed import markdown, measure, table

    check_place(out, "table")
    with errors.status("measuring") as status:
        rows = measure(budget, seeds, note=status.update)
    write_table(out, markdown(rows))
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        Console().print(table(rows))
