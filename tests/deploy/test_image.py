"""The image and the compose file: sound by their own linters, fitting the command line, and what they run works."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from typer.testing import CliRunner

from detector import exchange
from detector.cli import app
from detector.cli.logs import Part
from detector.config import load
from detector.service.kafka.connection import FETCHES_BYTES
from detector.service.kafka.topics import Topics
from detector.service.kafka.unpacking import ENOUGH_BYTES, LARGEST_BATCH
from detector.service.kafka.watch import EVERY_S
from detector.sinks.elastic import connection, kibana
from tests.servers.kafka import VERSION, LocalBroker
from tests.servers.process import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONFIG = "/etc/detector/detector.toml"
TOOLS = Path(sys.executable).parent


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its words, continued lines joined."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def only(wanted: str) -> str:
    """Return the words of an instruction that is there once."""
    (found,) = [rest for word, rest in instructions() if word == wanted]
    return found


def compose() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    return content


def own_services() -> dict[str, Any]:
    """Return the services that run our image."""
    return {name: service for name, service in compose()["services"].items() if service["image"].startswith("detector")}


def network_of(name: str) -> dict[str, Any]:
    """Return the service in whose network another one is."""
    services = compose()["services"]
    found: dict[str, Any] = services[services[name]["network_mode"].removeprefix("service:")]
    return found


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def test_the_dockerfile_is_sound() -> None:
    """The linter hadolint has nothing to say about it."""
    told = run(TOOLS / "hadolint", "--no-color", DEPLOY / "Dockerfile")
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_compose_file_is_one() -> None:
    """It fits the Compose specification's own schema."""
    told = run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_image_has_a_python_that_fits() -> None:
    """Both stages are of one base, named by a version, which the package allows; it does not run as root."""
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(set(bases)) == 1
    found = re.fullmatch(r"python:(3\.\d+)-slim-\w+", bases[0])
    assert found
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"{found[1]}.0" in SpecifierSet(allowed)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only("USER"))


def test_what_the_package_is_built_from_gets_into_the_image() -> None:
    """What COPY names is there, and not kept out of the build context."""
    given = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in given


def locked() -> dict[str, list[tuple[str, Marker | None, list[str]]]]:
    """Return what the lock file holds, by name: versions, where they are for, and their hashes."""
    found: dict[str, list[tuple[str, Marker | None, list[str]]]] = {}
    text = (DEPLOY / "requirements.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        requirement = Requirement(entry)
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        found.setdefault(canonicalize_name(requirement.name), []).append((pin.version, requirement.marker, hashes))
    return found


def test_what_the_image_installs_is_locked() -> None:
    """Every dependency of the package is in the lock file, in a version that it allows; everything there has hashes."""
    found = locked()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [
        line.partition("#")[0] for line in (DEPLOY / "requirements.in").read_text().splitlines() if not line.startswith("#")
    ]
    for requirement in map(Requirement, wanted):
        versions = found[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version, _, _ in versions), f"{requirement}: run `make lock`"
    for name, versions in found.items():
        assert all(re.fullmatch(r"[0-9a-f]{64}", one) for _, _, hashes in versions for one in hashes), name
        assert all(hashes for _, _, hashes in versions), name


def test_the_image_installs_by_hash_and_nothing_else() -> None:
    """Pip fetches what is locked, checks it, and fetches nothing to build the package."""
    commands = [part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert len(commands) == 2
    assert "--require-hashes --no-deps -r requirements.lock" in commands[0]
    assert "--no-index --no-deps --no-build-isolation ." in commands[1]


def test_the_image_holds_compiled_kernels_that_its_workers_can_use() -> None:
    """They are compiled below the prefix that is copied, where a start looks for them, for the processor that it asks for."""
    (build,) = [rest for word, rest in instructions() if word == "RUN" and "warm-up" in rest]
    (copied,) = [rest.split() for word, rest in instructions() if word == "COPY" and rest.startswith("--from")]
    _, prefix, place = copied
    assert prefix == place
    assert f"XDG_CACHE_HOME={prefix}/share {prefix}/bin/detector warm-up" in build
    (processor,) = re.findall(r"NUMBA_CPU_NAME=\w+", build)
    assert any(word == "ENV" and processor in rest.split() for word, rest in instructions())


def test_an_audit_without_its_database_is_skipped() -> None:
    """It says so and stops nobody; the address is one that nobody can reach."""
    code = "import audit, pathlib; audit.DATABASE = ('127.0.0.1', 1); print(audit.audit(pathlib.Path('requirements.lock')))"
    told = run(sys.executable, "-c", code, cwd=DEPLOY)
    assert told.stdout.splitlines() == ["pip-audit: vulnerability database not reachable, skipped", "0"], told.stderr


def test_the_security_model_has_the_bounds_of_the_code() -> None:
    """Figures that it gives are those that hold, and it names the topics that there are."""
    text = " ".join((ROOT / "docs" / "pages" / "security-model.md").read_text(encoding="utf-8").split())
    assert f"is unpacked up to {LARGEST_BATCH // 2**20} MB" in text
    assert f"One poll returns {ENOUGH_BYTES // 2**20} MB and a record at most" in text
    assert f"One fetch holds {FETCHES_BYTES // 2**20} MB at most" in text
    assert f"Of an answer {exchange.LARGEST_ANSWER // 1024} KB are read" in text
    assert f"may answer with {connection.LARGEST_ANSWER // 2**20} and {kibana.LARGEST_ANSWER // 2**20} MB" in text
    assert EVERY_S == 30.0  # "within half a minute"
    assert all(f"`{name}`" in text for name in Topics.under("detector.").policies())


@pytest.mark.parametrize("service", sorted(own_services()))
def test_services_have_a_limit_of_memory(service: str) -> None:
    """What the documents say of memory, the services are held to."""
    assert own_services()[service]["mem_limit"] == "2g"


def test_the_broker_is_the_one_of_the_tests() -> None:
    """The compose file runs the version of Kafka that everything was tried with."""
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{VERSION}"


def test_commands_fit_the_command_line() -> None:
    """Every option is known, every stage is one, and the configuration is where it is mounted."""
    entry = json.loads(only("CMD"))
    for command in [entry, *(service["command"] for service in own_services().values())]:
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0, shown.output
        assert command[command.index("-c") + 1] == CONFIG
        if "--stage" in command:
            assert command[command.index("--stage") + 1] in [part.value for part in Part]
    for service in own_services().values():
        assert f"./detector.toml:{CONFIG}:ro" in service["volumes"]


def test_the_configuration_fits_the_services() -> None:
    """It is valid, names the broker as its service is called, and starts in shadow mode."""
    config = load(DEPLOY / "detector.toml")
    listeners = compose()["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://{config.kafka.bootstrap_servers[0]}" == listeners
    assert config.policy.shadow
    assert f"127.0.0.1:{config.service.port}/readyz" in str(own_services()["detect"]["healthcheck"]["test"])
    assert only("EXPOSE") == str(config.service.port)
    gate = own_services()["gate"]
    assert f"127.0.0.1:{config.gate.port}/readyz" in str(gate["healthcheck"]["test"])
    assert f"127.0.0.1:{config.gate.port}:{config.gate.port}" in network_of("gate")["ports"]
    assert gate["environment"]["DETECTOR_GATE__HOST"] == "0.0.0.0"  # inside a container


def test_the_sample_gateway_is_the_recipe_but_for_where_it_listens() -> None:
    """What the container makes of the file differs in that line; the port is published by the service whose network it has."""
    gateway = compose()["services"]["gateway"]
    shell, flag, script = gateway["command"]
    assert (shell, flag) == ("sh", "-c")
    (expression,) = re.findall(r"sed '([^']*)'", script)
    recipe = (DEPLOY / "gateways/nginx/detector.conf").read_text()
    made = run("sed", expression, DEPLOY / "gateways/nginx/detector.conf").stdout
    changed = [pair for pair in zip(recipe.splitlines(), made.splitlines(), strict=True) if pair[0] != pair[1]]
    assert changed == [("    listen 127.0.0.1:8000;", "    listen 8000;")]
    for volume in gateway["volumes"]:
        assert (DEPLOY / volume.partition(":")[0]).exists()
    assert "127.0.0.1:8000:8000" in network_of("gateway")["ports"]
    for folder in ("/run", "/var/cache/nginx", "/etc/nginx/conf.d"):
        user, group = gateway["user"].split(":")
        assert f"{folder}:uid={user},gid={group}" in gateway["tmpfs"], "it can write there"


def test_the_network_of_the_gate_outlives_it() -> None:
    """The gate and the gateway are in the network of a third service, which does nothing else and is started before them."""
    services = compose()["services"]
    for name in ("gate", "gateway"):
        assert services[name]["network_mode"] == "service:gate-network"
        assert services[name]["depends_on"]["gate-network"] == {"condition": "service_started", "restart": True}
    assert {"command", "volumes", "depends_on"}.isdisjoint(services["gate-network"])
    assert services["gate-network"]["networks"] == {"default": {"aliases": ["gate"]}}


@pytest.mark.slow
@pytest.mark.broker
def test_what_the_image_runs_works(tmp_path: Path, local_broker: Callable[..., LocalBroker]) -> None:
    """The commands of the build make an environment without any tool of ours, in which those of the services work."""
    source, prefix = tmp_path / "src", tmp_path / "detector"
    source.mkdir()
    path = os.pathsep.join([str(prefix / "bin"), str(Path(sys.base_prefix) / "bin"), "/usr/bin", "/bin"])
    env = {"PATH": path, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    handed_on = re.compile(r"PIP_|SSL_|.*_proxy$", re.IGNORECASE)
    env |= {name: value for name, value in os.environ.items() if handed_on.match(name)}
    env["PIP_CACHE_DIR"] = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    env["DETECTOR_KAFKA__BOOTSTRAP_SERVERS"] = local_broker().bootstrap
    env["DETECTOR_SERVICE__PORT"] = str(port := free_port())
    (env["NUMBA_CPU_NAME"],) = re.findall(
        r"NUMBA_CPU_NAME=(\w+)", " ".join(rest for word, rest in instructions() if word == "ENV")
    )
    stage = instructions()[: [word for word, _ in instructions()].index("FROM", 1)]
    for word, rest in stage:
        if word == "COPY":
            *sources, target = rest.split()
            for name in sources:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / target if (ROOT / name).is_dir() else source)
        elif word == "RUN":
            script = rest.replace("/opt/detector", str(prefix)).replace("python -m venv", "python3 -m venv")
            built = run("sh", "-c", script, cwd=source, env=env)
            if built.returncode != 0 and "connection" in built.stderr.lower() and os.environ.get("CI") != "true":
                pytest.skip("the packages cannot be fetched: the network is needed")
            assert built.returncode == 0, built.stderr
    entry = [prefix / "bin" / word for word in json.loads(only("ENTRYPOINT"))]

    def command(*words: str) -> list[str | Path]:
        return [*entry, *(str(DEPLOY / "detector.toml") if word == CONFIG else word for word in words)]

    def succeed(*words: str) -> str:
        done = run(*command(*words), cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.fullmatch(r"detector \d+\.\d+\.\d+\S*\n", succeed("version"))
    succeed("config", "check", "-c", CONFIG)
    services = own_services()
    assert succeed(*services["topics"]["command"]).count("created ") == 9
    alive = json.loads(only("HEALTHCHECK").partition("CMD")[2])
    with (tmp_path / "said").open("wb") as said:
        service = subprocess.Popen(command(*services["detect"]["command"]), cwd=tmp_path, env=env, stdout=said, stderr=said)
    env["DETECTOR_GATE__PORT"] = str(gate_port := free_port())
    env["DETECTOR_GATE__SNAPSHOT_FILE"] = str(tmp_path / "decisions")
    with (tmp_path / "gate-said").open("wb") as said:
        gate = subprocess.Popen(command(*services["gate"]["command"]), cwd=tmp_path, env=env, stdout=said, stderr=said)

    def is_healthy(name: str, old: str, new: int) -> bool:
        words = services[name]["healthcheck"]["test"][1:]
        return run(*(word.replace(old, str(new)) for word in words), env=env).returncode == 0

    try:
        until = time.monotonic() + 600  # beside other tests
        while not (is_healthy("detect", "9477", port) and is_healthy("gate", "9478", gate_port)):
            told = (tmp_path / "said").read_text() + (tmp_path / "gate-said").read_text()
            assert service.poll() is None, told
            assert gate.poll() is None, told
            assert time.monotonic() < until, told
            time.sleep(0.5)
        assert run(*alive, env=env).returncode == 0
        service.terminate()
        gate.terminate()
        assert (service.wait(60), gate.wait(60)) == (0, 0)
    finally:
        for process in (service, gate):
            process.kill()
            process.wait()
