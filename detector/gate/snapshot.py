"""The decisions in a file of this machine, so that a restarted gate has them while their source is away.

One line each, behind a line that says which form it is; the last line counts them, so that a file that was cut off is known.
"""

import json
import os
from pathlib import Path
from typing import Final

from detector.errors import SnapshotError
from detector.gate.packing import Details
from detector.gate.records import Member
from detector.gate.store import Store
from detector.private import create

__all__ = ["load", "save"]

_FORM: Final = "detector-gate 2"


def save(store: Store, file: Path) -> int:
    """Replace the file by what the store holds; return how many decisions that are. Raises `SnapshotError`."""
    fresh = file.with_name(file.name + ".new")
    number = 0
    try:
        with create(fresh) as out:
            out.write(f"{_FORM}\n".encode())
            for origin, key, entry, details in store.dump():
                row = [origin, key, f"{entry:x}", *details, store.members(origin, key)]
                out.write(json.dumps(row).encode() + b"\n")
                number += 1
            out.write(f"{number}\n".encode())
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        raise SnapshotError(f"{file}: cannot write the snapshot: {error.strerror}") from error
    return number


def load(file: Path) -> Store | None:
    """Return the decisions of a snapshot; None where there is none. Raises `SnapshotError` where it cannot be used."""
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"{file}: cannot read the snapshot: {error.strerror}") from error
    if lines[0].decode(errors="replace") != _FORM:
        raise SnapshotError(f"{file}: the snapshot is of another version, or no snapshot")
    if len(lines) < 3 or lines[-2] != str(len(lines) - 3).encode():
        raise SnapshotError(f"{file}: the snapshot was cut off")
    store = Store()
    try:
        for line in lines[1:-2]:
            origin, key, entry, rate, retry, status, routes, members = json.loads(line)
            details = Details(rate, retry, status, None if routes is None else tuple(routes))
            store.load(origin, key, int(entry, 16), details, tuple(Member(client, address) for client, address in members))
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise SnapshotError(f"{file}: the snapshot is damaged") from error
    return store
