"""The evidence package: what somebody else needs to check a finding, in one file, and the check, which needs no network.

========================  ============================================================================================
``log.jsonl``             the marked answers of the client, as they stand in the log
``leaves.jsonl``          the hash of every marked answer of the model, the client's and all others', in order
``chain.jsonl``           the links of the chain over them, one an hour
``commitment.json``       what was committed to, and ``commitment.tsr``, its time stamp
``decisions.jsonl``       decisions about the client, and ``alerts.jsonl``
``report/``               what the test found
``manifest.json``         who and what it is about, and the hash of every other file
========================  ============================================================================================
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from detector import private
from detector.clock import Clock, SystemClock
from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError, OutputError, OwnershipError, SourceError
from detector.ingest.formats.decoder import several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.recorded import read, records_of
from detector.ownership.chain import HOUR_MS, Leaf, Link, leaf_hash, links_of

__all__ = ["Contents", "Exported", "export", "link_line", "sealed"]

FORMAT: Final = 1
EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same evidence gives the same package


class Contents(NamedTuple):
    """What goes into a package besides the log. Files that are None are left out."""

    commitment: Path
    stamp: Path | None = None
    decisions: Path | None = None
    alerts: Path | None = None
    report: Path | None = None


class Exported(NamedTuple):
    """How much a package holds, and its SHA-256."""

    records: int
    leaves: int
    hours: int
    digest: str


class _Told(NamedTuple):
    """A record of the log with a mark: the line, when it was told, to whom and under which key."""

    line: bytes
    time_ms: int
    client: str
    subject: str


def _marked(logs: Sequence[str], config: Config, model: str) -> Iterator[_Told]:
    decoder = decoder_of_files(config)
    problems: list[str] = []
    for chunk in read(logs, config, problems):
        for record in records_of(chunk):
            for event in several(decoder.decode(record)):
                changed = event.output.perturbed if isinstance(event, DecodedEvent) and event.model.id == model else None
                if isinstance(event, DecodedEvent) and changed is not None and changed.mark is not None:
                    yield _Told(record.value.strip(), int(event.time), event.client.id, changed.mark.subject)
                    break
    if problems:
        raise SourceError("\n".join(problems))


def sealed(logs: Sequence[str], config: Config, model: str, *, whole: bool = False) -> list[Link]:
    """Return the chain over the marked answers of a model, to be time-stamped; the last hour is left out, unless it is `whole`.

    Raises `SourceError`.
    """
    links = links_of(Leaf(told.time_ms // HOUR_MS, leaf_hash(told.line)) for told in _marked(logs, config, model))
    return links if whole else links[:-1]


def link_line(link: Link) -> bytes:
    """Return a link as a line of ``chain.jsonl``."""
    content = {
        "hour": rfc3339(link.hour * HOUR_MS),
        "count": link.records,
        "root": link.root.hex(),
        "chained": link.chained.hex(),
    }
    return json.dumps(content).encode() + b"\n"


def export(
    logs: Sequence[str],
    config: Config,
    model: str,
    client: str,
    contents: Contents,
    out: Path,
    clock: Clock | None = None,
) -> Exported:
    """Write the package of a client. Raises `OwnershipError` where nothing was marked for it, `OutputError`, `SourceError`."""
    log, leaves, index = bytearray(), list[Leaf](), bytearray()
    subjects: set[str] = set()
    records = 0
    for told in _marked(logs, config, model):
        hour, own = told.time_ms // HOUR_MS, told.client == client
        if own:
            records += 1
            log += told.line + b"\n"
            subjects.add(told.subject)
        leaf = Leaf(hour, leaf_hash(told.line))
        leaves.append(leaf)
        entry = {"hour": rfc3339(hour * HOUR_MS), "hash": leaf.hash.hex(), "record": records if own else None}
        index += json.dumps(entry).encode() + b"\n"
    if not records:
        raise OwnershipError(f"nothing was marked for this client: the log has no answer to {client!r} with a mark")
    links = links_of(leaves)
    files: dict[str, bytes] = {
        "log.jsonl": bytes(log),
        "leaves.jsonl": bytes(index),
        "chain.jsonl": b"".join(map(link_line, links)),
        "commitment.json": _content(contents.commitment),
    }
    if contents.stamp is not None:
        files["commitment.tsr"] = _content(contents.stamp)
    if contents.decisions is not None:
        files["decisions.jsonl"] = _about(contents.decisions, {client, *(one.partition(":")[2] for one in subjects)})
    if contents.alerts is not None:
        files["alerts.jsonl"] = _about(contents.alerts, {client})
    if contents.report is not None:
        files |= {f"report/{path.name}": _content(path) for path in sorted(contents.report.glob("*")) if path.is_file()}
    manifest = {
        "format": FORMAT,
        "made": rfc3339((clock or SystemClock()).now_ms()),
        "model": model,
        "client": client,
        "subjects": sorted(subjects),
        "records": records,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files = {"manifest.json": json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n", **files}
    return Exported(records, len(leaves), len(links), _write(out, files))


def _write(out: Path, files: dict[str, bytes]) -> str:
    try:
        with private.create(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
            for name, content in files.items():
                package.writestr(zipfile.ZipInfo(name, EARLIEST), content, zipfile.ZIP_DEFLATED)
        return hashlib.sha256(out.read_bytes()).hexdigest()
    except OSError as error:
        raise OutputError(f"{out}: cannot write the package: {error.strerror or error}") from error


def _about(path: Path, names: set[str]) -> bytes:
    """Return the lines of a file of decisions or alerts that are about somebody."""
    kept = bytearray()
    for line in _content(path).splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and names & set(_whom(entry)):
            kept += line + b"\n"
    return bytes(kept)


def _whom(entry: dict[str, Any]) -> Iterator[str]:
    for name in ("subject", "user", "organization"):
        one = entry.get(name)
        if isinstance(one, dict):
            yield str(one.get("id"))
    for member in entry.get("members") or ():
        if isinstance(member, dict):
            yield str(member.get("id"))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
