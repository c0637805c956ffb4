"""Checking an evidence package, with nothing but the package, and the root certificate of the authority that stamped it.

It shows that the package is whole, and the records are those of its chain. It does not show that the chain is the one that
was kept at the time: that takes a time stamp of a link from then.
"""

import datetime as dt
import hashlib
import json
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from detector.contracts.moment import parse_rfc3339, rfc3339
from detector.errors import ConfigError, OwnershipError
from detector.names import counted, one_line
from detector.ownership.chain import HOUR_MS, Leaf, Link, leaf_hash, links_of
from detector.ownership.package import FORMAT, link_line
from detector.ownership.stamp import stamped_at, too_late
from detector.perturb.committed import Committed

__all__ = ["Checked", "check"]

MOST_BYTES: Final = 4 << 30  # unpacked
MOST_WHOLE: Final = 64 << 20  # of a record, and of a file that is read as a whole
PART: Final = 1 << 20
NEEDED: Final = ("manifest.json", "log.jsonl", "leaves.jsonl", "chain.jsonl", "commitment.json")


class Checked(NamedTuple):
    """What a package that is whole holds.

    `unread` records are not of the native format, so whom they were told to was not checked. `compared` hours are those of
    the chain that was kept elsewhere. `has_stamp` says whether there is a stamp of the commitment, and `stamped` is when that
    was made, None where no authority was named to check it by; `unprovable` is why nothing can be proved, None where the stamp
    is from before the first record.
    """

    client: str
    model: str
    records: int
    leaves: int
    hours: int
    last_link: str
    stamped: dt.datetime | None
    unread: int = 0
    compared: int = 0
    has_stamp: bool = False
    unprovable: str | None = None


def check(path: Path, roots: Sequence[Path] = (), chain: Path | None = None) -> Checked:
    """Check a package, and that its chain goes on from the one in the file `chain`, which was kept elsewhere.

    Holds a record at a time, however large the package is.

    Raises `OwnershipError` naming the first record, hour or file that does not fit, and `ConfigError` for what is no package.
    """
    with _opened(path) as package, ExitStack() as stack:
        names = _names(package, path)
        manifest = _manifest(package, names, path)
        kept = None if chain is None else stack.enter_context(_kept(chain))
        client, model = manifest["client"], manifest["model"]
        records = _Records(client, model)
        with package.open("log.jsonl") as log, package.open("leaves.jsonl") as index, package.open("chain.jsonl") as sealed:
            leaves = _leaves(_lines(index, "leaves.jsonl"), _lines(log, "log.jsonl"), records)
            chained = [_Chain(_lines(sealed, "chain.jsonl"), "chain.jsonl", whole=True)]
            if kept is not None:
                chained.append(_Chain(_lines(kept, str(chain)), str(chain), whole=False))
            for link in links_of(leaves):
                for one in chained:
                    one.take(link)
            for one in chained:
                one.end()
        if chain is not None and not chained[-1].compared:
            raise ConfigError(f"{chain}: holds no hour: this is no chain to compare with")
        _hashes(package, names, manifest["files"])
        raw = _small(package, "commitment.json")
        committed = Committed.of(raw, f"{path}: commitment.json")
        if committed.model != model:
            raise OwnershipError(f"commitment.json: is about the model {committed.model!r}, and the package about {model!r}")
        has_stamp = "commitment.tsr" in names
        stamped = _stamped(raw, _small(package, "commitment.tsr"), roots) if has_stamp and roots else None
    return Checked(
        client,
        model,
        records.count,
        chained[0].leaves,
        chained[0].hours,
        chained[0].last,
        stamped,
        records.unread,
        0 if chain is None else chained[-1].compared,
        has_stamp,
        None if stamped is None or records.first_ms is None else too_late(stamped, records.first_ms),
    )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a package; what is damaged in it, whenever that shows, becomes a `ConfigError`."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is no file")
        with zipfile.ZipFile(path) as package:
            yield package
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path}: is no evidence package, or is damaged: {error}") from error


def _names(package: zipfile.ZipFile, path: Path) -> set[str]:
    entries = package.infolist()
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES} bytes when it is unpacked")
    names = {entry.filename for entry in entries}
    if len(names) < len(entries):
        raise OwnershipError(f"{path}: holds a file twice")
    if NEEDED[0] not in names:
        raise ConfigError(f"{path}: is no evidence package: {NEEDED[0]} is missing")
    return names


def _small(package: zipfile.ZipFile, name: str) -> bytes:
    """Return a file that has to be read as a whole."""
    with package.open(name) as file:
        content = file.read(MOST_WHOLE + 1)
    if len(content) > MOST_WHOLE:
        raise OwnershipError(f"{name}: is larger than {MOST_WHOLE} bytes")
    return content


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield records as they were written: only a line feed ends one, since JSON may hold a carriage return."""
    number = 0
    while line := file.readline(MOST_WHOLE + 1):
        number += 1
        if len(line) > MOST_WHOLE:
            raise OwnershipError(f"{name}: line {number} is longer than {MOST_WHOLE} bytes")
        yield line.removesuffix(b"\n")


class _Records:
    """What the records of a package say, as they go by."""

    def __init__(self, client: str, model: str) -> None:
        self._about = (client, model)
        self.count = 0
        self.unread = 0
        self.first_ms: int | None = None

    def take(self, line: bytes) -> None:
        """Raises `OwnershipError` where one in the native format is no answer to the client."""
        self.count += 1
        try:
            entry = json.loads(line)
            whom, what, told = entry["client"]["id"], entry["model"]["id"], entry["time"]
            time = told if isinstance(told, int) else parse_rfc3339(told)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.unread += 1
            return
        if (whom, what) != self._about:
            client, model = self._about
            raise OwnershipError(
                f"log.jsonl: record {self.count}{_called(line)} was told to {whom!r} by {what!r}, and the package is about "
                f"{client!r} and {model!r}"
            )
        self.first_ms = time if self.first_ms is None else min(self.first_ms, time)


def _manifest(package: zipfile.ZipFile, names: set[str], path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_small(package, "manifest.json"))
        known = isinstance(manifest, dict)
    except (ValueError, RecursionError):
        known = False
    if not known:
        raise OwnershipError(f"{path}: manifest.json cannot be read")
    if manifest.get("format") != FORMAT:
        raise ConfigError(f"{path}: is of format {manifest.get('format')!r}, this version reads {FORMAT}")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise ConfigError(f"{path}: is no evidence package: {missing[0]} is missing")
    about = [manifest.get(name) for name in ("client", "model")]
    if not isinstance(manifest.get("files"), dict) or not all(isinstance(one, str) for one in about):
        raise OwnershipError(f"{path}: manifest.json does not say whom and what the package is about")
    return dict(manifest)


def _hashes(package: zipfile.ZipFile, names: set[str], digests: dict[str, Any]) -> None:
    for name, digest in digests.items():
        if name not in names:
            raise OwnershipError(f"{one_line(name)}: is missing from the package")
        found = hashlib.sha256()
        with package.open(name) as file:
            while part := file.read(PART):
                found.update(part)
        if found.hexdigest() != digest:
            raise OwnershipError(f"{one_line(name)}: was changed since the package was made")
    strange = sorted(names - digests.keys() - {"manifest.json"})
    if strange:
        raise OwnershipError(f"{one_line(strange[0])}: was added since the package was made")


def _leaves(index: Iterator[bytes], lines: Iterator[bytes], records: _Records) -> Iterator[Leaf]:
    """Yield the leaves, the client's compared with its records. Raises `OwnershipError` at the first that does not fit."""
    at = 0
    for number, entry_line in enumerate(index, 1):
        try:
            entry = json.loads(entry_line)
            leaf = Leaf(parse_rfc3339(entry["hour"]) // HOUR_MS, bytes.fromhex(entry["hash"]))
            record = entry["record"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise OwnershipError(f"leaves.jsonl: line {number} cannot be read") from None
        if record is not None:
            at += 1
            line = next(lines, None)
            if record != at or line is None:
                raise OwnershipError(f"log.jsonl: record {at} is missing, or out of its order")
            if leaf_hash(line) != leaf.hash:
                raise OwnershipError(f"log.jsonl: record {at}{_called(line)} is not the one in the chain: it was changed")
            records.take(line)
        yield leaf
    line = next(lines, None)
    if line is not None:
        raise OwnershipError(f"log.jsonl: record {at + 1}{_called(line)} is not in the chain: it was added")


class _Chain:
    """Compares hours that the records make with those of a chain that was written down; a `whole` one has no fewer."""

    def __init__(self, written: Iterator[bytes], name: str, *, whole: bool) -> None:
        self._written, self._name, self._whole = written, name, whole
        self.hours = self.leaves = self.compared = 0
        self.last = ""

    def take(self, link: Link) -> None:
        first, self.leaves = self.leaves + 1, self.leaves + link.records
        self.hours += 1
        made = link_line(link)
        self.last = link.chained.hex()
        line = next(self._written, None)
        if line is None:
            return
        self.compared += 1
        if made.strip() != line.strip():
            raise OwnershipError(
                f"{self._name}: the hour {rfc3339(link.hour * HOUR_MS)} does not fit its records: "
                f"one of {first} to {self.leaves} in leaves.jsonl was changed"
            )

    def end(self) -> None:
        more = sum(1 for _ in self._written)
        if more or (self._whole and self.compared < self.hours):
            raise OwnershipError(
                f"{self._name}: has {counted(self.compared + more, 'hour')}, and the records of leaves.jsonl make {self.hours}"
            )


def _called(line: bytes) -> str:
    try:
        return f" (event {one_line(str(json.loads(line)['event_id']))[:80]})"
    except (ValueError, KeyError, TypeError):
        return ""


def _stamped(commitment: bytes, stamp: bytes, roots: Sequence[Path]) -> dt.datetime:
    with tempfile.NamedTemporaryFile(suffix=".tsr") as file:
        file.write(stamp)
        file.flush()
        return stamped_at(commitment, Path(file.name), roots)


def _kept(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
