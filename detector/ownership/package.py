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
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

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
_PART: Final = 1 << 20
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
    links = list(links_of(Leaf(told.time_ms // HOUR_MS, leaf_hash(told.line)) for told in _marked(logs, config, model)))
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
    """Write the package of a client. Raises `OwnershipError` where nothing was marked for it, `OutputError`, `SourceError`.

    What it holds lies in temporary files until then (where `TMPDIR` says), and never in memory as a whole.
    """
    with ExitStack() as stack:
        parts = _Parts(stack)
        told = _written(_marked(logs, config, model), client, parts)
        if not told.records:
            raise OwnershipError(f"nothing was marked for this client: the log has no answer to {client!r} with a mark")
        parts.copy("commitment.json", contents.commitment)
        if contents.stamp is not None:
            parts.copy("commitment.tsr", contents.stamp)
        if contents.decisions is not None:
            parts.about("decisions.jsonl", contents.decisions, {client, *(one.partition(":")[2] for one in told.subjects)})
        if contents.alerts is not None:
            parts.about("alerts.jsonl", contents.alerts, {client})
        if contents.report is not None:
            for path in sorted(contents.report.glob("*")):
                if path.is_file():
                    parts.copy(f"report/{path.name}", path)
        manifest = {
            "format": FORMAT,
            "made": rfc3339((clock or SystemClock()).now_ms()),
            "model": model,
            "client": client,
            "subjects": sorted(told.subjects),
            "records": told.records,
            "files": parts.digests(),
        }
        digest = parts.write(out, json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")
    return Exported(told.records, told.leaves, told.hours, digest)


class _Counted(NamedTuple):
    records: int
    leaves: int
    hours: int
    subjects: set[str]


def _written(marked: Iterator[_Told], client: str, parts: "_Parts") -> _Counted:
    """Write the log of a client, the leaves of all, and the chain over them."""
    log, index, chain = parts.new("log.jsonl"), parts.new("leaves.jsonl"), parts.new("chain.jsonl")
    subjects: set[str] = set()
    records = 0

    def leaves() -> Iterator[Leaf]:
        nonlocal records
        for told in marked:
            hour, own = told.time_ms // HOUR_MS, told.client == client
            if own:
                records += 1
                log.write(told.line + b"\n")
                subjects.add(told.subject)
            leaf = Leaf(hour, leaf_hash(told.line))
            entry = {"hour": rfc3339(hour * HOUR_MS), "hash": leaf.hash.hex(), "record": records if own else None}
            index.write(json.dumps(entry).encode() + b"\n")
            yield leaf

    count = hours = 0
    with _room():
        for link in links_of(leaves()):
            chain.write(link_line(link))
            count, hours = count + link.records, hours + 1
    return _Counted(records, count, hours, subjects)


class _Parts:
    """The files of a package, until it is written."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._files: dict[str, IO[bytes]] = {}

    def new(self, name: str) -> IO[bytes]:
        """Return an empty file."""
        with _room():
            file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
        self._files[name] = file
        return file

    def copy(self, name: str, path: Path) -> None:
        """Take a file as it is."""
        file = self.new(name)
        with _opened(path) as source, _room():
            shutil.copyfileobj(source, file)

    def about(self, name: str, path: Path, names: set[str]) -> None:
        """Take the lines of a file of decisions or alerts that are about somebody."""
        file = self.new(name)
        with _opened(path) as source, _room():
            for line in source:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict) and names & set(_whom(entry)):
                    file.write(line.rstrip(b"\r\n") + b"\n")

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each."""
        with _room():
            return {name: self._digest(file) for name, file in self._files.items()}

    def _digest(self, file: IO[bytes]) -> str:
        file.seek(0)
        digest = hashlib.sha256()
        while part := file.read(_PART):
            digest.update(part)
        return digest.hexdigest()

    def write(self, out: Path, manifest: bytes) -> str:
        """Write the package, and return its SHA-256."""
        try:
            with private.create(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
                package.writestr(_entry("manifest.json"), manifest, zipfile.ZIP_DEFLATED)
                for name, part in self._files.items():
                    part.seek(0)
                    with package.open(_entry(name), "w", force_zip64=True) as into:
                        shutil.copyfileobj(part, into)
            with out.open("rb") as written:
                return hashlib.file_digest(written, "sha256").hexdigest()
        except OSError as error:
            raise OutputError(f"{out}: cannot write the package: {error.strerror or error}") from error


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EARLIEST)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"no temporary file for the package (TMPDIR says where): {error.strerror or error}") from error


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _whom(entry: dict[str, Any]) -> Iterator[str]:
    for name in ("subject", "user", "organization"):
        one = entry.get(name)
        if isinstance(one, dict):
            yield str(one.get("id"))
    for member in entry.get("members") or ():
        if isinstance(member, dict):
            yield str(member.get("id"))
