"""What lies in a broker's folder: its settings, its certificate, its empty storage, and the record of its last start."""

import base64
import json
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detector.errors import ServerError
from tests.servers import server, tls
from tests.servers.kafka_program import QUICK, environment
from tests.servers.kafka_settings import scram_options, server_properties
from tests.servers.process import last_words

SETTINGS = "server.properties"

_RECORD = "broker.json"


def write_settings(folder: Path, ports: Mapping[str, int], users: Mapping[str, str], extra: Mapping[str, str]) -> None:
    """Write what the broker is told, readable by its owner only, since passwords are in it."""
    file = folder / SETTINGS
    file.touch(mode=0o600)
    file.write_text(server_properties(ports, users, extra), encoding="utf-8")


def is_formatted(folder: Path) -> bool:
    """Whether a storage is there."""
    return (folder / "data" / "meta.properties").exists()


def format_storage(java: Sequence[str], folder: Path, users: Mapping[str, str]) -> None:
    """Make an empty storage, with the users of SCRAM, after the settings were written.

    Raises `ServerError` with the end of what the tool said; a half made storage is removed.
    """
    cluster = "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    tool = [*java, QUICK, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", SETTINGS, *scram_options(users)]
    done = subprocess.run(tool, cwd=folder, env=environment(), capture_output=True, check=False)
    if done.returncode != 0:
        data = folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        raise ServerError(f"Kafka's storage in {data} could not be formatted:\n{last_words(done.stdout + done.stderr)}")


def prepare(java: Sequence[str], folder: Path, users: Mapping[str, str]) -> None:
    """Make a certificate where one is needed, and an empty storage where there is none."""
    if users:
        tls.make_certificate(java[0], folder)
    if not is_formatted(folder):
        format_storage(java, folder, users)


def mark(folder: Path) -> str:
    """Return what tells the broker of this folder from any other process."""
    return f"-Ddetector.local.folder={folder}"


def write_record(folder: Path, process_id: int | None, ports: Mapping[str, int], bootstrap: str) -> None:
    """Leave for later commands who runs here and where it listens."""
    record = {"process_id": process_id, "bootstrap": bootstrap, "ports": dict(ports)}
    (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what the last broker of this folder left: `process_id`, `bootstrap`, `ports`; None where there was none."""
    return server.read_record(folder / _RECORD)
