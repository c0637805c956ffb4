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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from detector.contracts.moment import parse_rfc3339
from detector.errors import ConfigError, OwnershipError
from detector.names import one_line
from detector.ownership.chain import HOUR_MS, Leaf, leaf_hash, links_of
from detector.ownership.package import FORMAT, link_line
from detector.ownership.stamp import stamped_at, too_late
from detector.perturb.committed import Committed

__all__ = ["Checked", "check"]

MOST_BYTES: Final = 4 << 30  # unpacked
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

    Raises `OwnershipError` naming the first record, hour or file that does not fit, and `ConfigError` for what is no package.
    """
    files = _files(path)
    manifest = _manifest(files, path)
    lines = _lines(files["log.jsonl"])
    leaves = _leaves(files["leaves.jsonl"], lines)
    told = [link_line(link) for link in links_of(leaves)]
    _same_links(told, files["chain.jsonl"].splitlines(keepends=True), "chain.jsonl", whole=True)
    compared = [] if chain is None else _read(chain).splitlines(keepends=True)
    if chain is not None and not compared:
        raise ConfigError(f"{chain}: holds no hour: this is no chain to compare with")
    _same_links(told, compared, str(chain), whole=False)
    for name, digest in manifest["files"].items():
        if name not in files:
            raise OwnershipError(f"{one_line(name)}: is missing from the package")
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise OwnershipError(f"{one_line(name)}: was changed since the package was made")
    strange = sorted(files.keys() - manifest["files"].keys() - {"manifest.json"})
    if strange:
        raise OwnershipError(f"{one_line(strange[0])}: was added since the package was made")
    client, model = manifest["client"], manifest["model"]
    times = _times(lines, client, model)
    committed = Committed.of(files["commitment.json"], f"{path}: commitment.json")
    if committed.model != model:
        raise OwnershipError(f"commitment.json: is about the model {committed.model!r}, and the package about {model!r}")
    last = json.loads(told[-1])["chained"] if told else ""
    stamped = _stamped(files, roots)
    return Checked(
        client,
        model,
        len(lines),
        len(leaves),
        len(told),
        last,
        stamped,
        len(lines) - len(times),
        len(compared),
        "commitment.tsr" in files,
        None if stamped is None or not times else too_late(stamped, min(times)),
    )


def _times(lines: list[bytes], client: str, model: str) -> list[int]:
    """Return the times of the records in the native format; raises `OwnershipError` where one is no answer to the client."""
    times = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            whom, what, told = entry["client"]["id"], entry["model"]["id"], entry["time"]
            time = told if isinstance(told, int) else parse_rfc3339(told)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
        if (whom, what) != (client, model):
            raise OwnershipError(
                f"log.jsonl: record {number}{_called(line)} was told to {whom!r} by {what!r}, and the package is about "
                f"{client!r} and {model!r}"
            )
        times.append(time)
    return times


def _files(path: Path) -> dict[str, bytes]:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is no file")
        with zipfile.ZipFile(path) as package:
            entries = package.infolist()
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ConfigError(f"{path}: is larger than {MOST_BYTES} bytes when it is unpacked")
            if len({entry.filename for entry in entries}) < len(entries):
                raise OwnershipError(f"{path}: holds a file twice")
            files = {entry.filename: package.read(entry) for entry in entries}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path}: is no evidence package, or is damaged: {error}") from error
    if NEEDED[0] not in files:
        raise ConfigError(f"{path}: is no evidence package: {NEEDED[0]} is missing")
    return files


def _manifest(files: dict[str, bytes], path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(files["manifest.json"])
        known = isinstance(manifest, dict)
    except (ValueError, RecursionError):
        known = False
    if not known:
        raise OwnershipError(f"{path}: manifest.json cannot be read")
    if manifest.get("format") != FORMAT:
        raise ConfigError(f"{path}: is of format {manifest.get('format')!r}, this version reads {FORMAT}")
    missing = [name for name in NEEDED if name not in files]
    if missing:
        raise ConfigError(f"{path}: is no evidence package: {missing[0]} is missing")
    about = [manifest.get(name) for name in ("client", "model")]
    if not isinstance(manifest.get("files"), dict) or not all(isinstance(one, str) for one in about):
        raise OwnershipError(f"{path}: manifest.json does not say whom and what the package is about")
    return dict(manifest)


def _leaves(index: bytes, lines: list[bytes]) -> list[Leaf]:
    """Return the leaves, the client's compared with its records. Raises `OwnershipError` at the first that does not fit."""
    leaves: list[Leaf] = []
    at = 0
    for number, line in enumerate(index.splitlines(), 1):
        try:
            entry = json.loads(line)
            leaf = Leaf(parse_rfc3339(entry["hour"]) // HOUR_MS, bytes.fromhex(entry["hash"]))
            record = entry["record"]
        except (ValueError, KeyError, TypeError):
            raise OwnershipError(f"leaves.jsonl: line {number} cannot be read") from None
        leaves.append(leaf)
        if record is None:
            continue
        at += 1
        if record != at or at > len(lines):
            raise OwnershipError(f"log.jsonl: record {at} is missing, or out of its order")
        if leaf_hash(lines[at - 1]) != leaf.hash:
            raise OwnershipError(f"log.jsonl: record {at}{_called(lines[at - 1])} is not the one in the chain: it was changed")
    if at < len(lines):
        raise OwnershipError(f"log.jsonl: record {at + 1}{_called(lines[at])} is not in the chain: it was added")
    return leaves


def _lines(content: bytes) -> list[bytes]:
    """Return records as they were written: only a line feed ends one, since JSON may hold a carriage return."""
    lines = content.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def _called(line: bytes) -> str:
    try:
        return f" (event {one_line(str(json.loads(line)['event_id']))[:80]})"
    except (ValueError, KeyError, TypeError):
        return ""


def _same_links(told: list[bytes], kept: list[bytes], name: str, *, whole: bool) -> None:
    first = 1
    for made, line in zip(told, kept, strict=False):
        link = json.loads(made)
        if made.strip() != line.strip():
            last = first + link["count"] - 1
            raise OwnershipError(
                f"{name}: the hour {link['hour']} does not fit its records: "
                f"one of {first} to {last} in leaves.jsonl was changed"
            )
        first += link["count"]
    if len(kept) > len(told) or (whole and len(kept) < len(told)):
        raise OwnershipError(f"{name}: has {len(kept)} hours, and the records of leaves.jsonl make {len(told)}")


def _stamped(files: dict[str, bytes], roots: Sequence[Path]) -> dt.datetime | None:
    if "commitment.tsr" not in files or not roots:
        return None
    with tempfile.NamedTemporaryFile(suffix=".tsr") as file:
        file.write(files["commitment.tsr"])
        file.flush()
        return stamped_at(files["commitment.json"], Path(file.name), roots)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
