"""Keeping: the state of a linker as bytes, and back, checked before anything uses it."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from detector.engine.links.groups import Groups
from detector.engine.links.joined import Account, Chain, Group
from detector.engine.links.seeking.records import Chains
from detector.engine.links.seeking.search import KINDS
from detector.engine.links.seeking.steps import Steps
from detector.engine.links.seeking.store import Entries
from detector.engine.links.seeking.values import Values
from detector.engine.links.settings import LinkSettings
from detector.errors import SnapshotError

FORM = 5
Kept = tuple[Entries, Chains, Steps, Values]
PLACES = frozenset({"seen_place", "place", "ends", "holder", "end"})  # arrays of places in the store

_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def pack_linker(
    fingerprint: str,
    arrays: Kept,
    groups: Groups,
    guard: Mapping[str, Any],
    holdings: Mapping[str, Any] | None,
) -> bytes:
    """Return the state as MessagePack: plain data, no code."""
    return msgspec.msgpack.encode(
        {
            "form": FORM,
            "reference": fingerprint,
            "arrays": [np.ascontiguousarray(array).tobytes() for part in arrays for array in part],
            "accounts": list(groups.accounts.values()),
            "grouped": list(groups.grouped.values()),
            "groups": list(groups.groups.values()),
            "chains": [
                [number, chain.queries, chain.strong, list(chain.accounts.items()), list(chain.credited.items()), chain.made]
                for number, chain in groups.chains.items()
            ],
            "credited": list(groups.credited),
            "made": list(groups.made.items()),
            "makers": list(groups.makers.items()),
            "guard": guard,
            "holdings": holdings,
        }
    )


def unpack_linker(
    saved: bytes, fingerprint: str, like: Kept, settings: LinkSettings
) -> tuple[list[npt.NDArray[Any]], Groups, Mapping[str, Any], Mapping[str, Any] | None]:
    """Return the arrays, the groups, the guard's state and the holdings of `pack_linker`. Raises `SnapshotError`."""
    try:
        found = _decode(saved)
        _check_origin(found, fingerprint)
        arrays = _arrays(found["arrays"], like)
        return arrays, _groups(found, settings), found["guard"], found["holdings"]
    except SnapshotError:
        raise
    except Exception as error:  # damaged bytes may raise any error
        raise SnapshotError(f"the saved links are damaged: {error!r}") from error


def _check_origin(found: Mapping[str, Any], fingerprint: str) -> None:
    if found["form"] != FORM or found["reference"] != fingerprint:
        raise SnapshotError("the saved links are of another version or baseline")


def _arrays(saved: list[bytes], like: Kept) -> list[npt.NDArray[Any]]:
    expected = [array for part in like for array in part]
    if len(saved) != len(expected) or any(len(data) != array.nbytes for data, array in zip(saved, expected, strict=True)):
        raise SnapshotError("the saved links have other sizes")
    arrays = [np.frombuffer(data, array.dtype).reshape(array.shape) for data, array in zip(saved, expected, strict=True)]
    filled = arrays[Entries._fields.index("filled")]
    if filled.min() < 0 or arrays[Entries._fields.index("stored")][0] < 0:
        raise SnapshotError("the saved links are damaged: a count is below 0")
    names = [name for part in like for name in part._fields]
    kept = len(like[0].uid)
    for name, array in zip(names, arrays, strict=True):
        if name in PLACES and array.size and not -1 <= array.min() <= array.max() < kept:
            raise SnapshotError(f"the saved links are damaged: {name} is beyond the store")
    return arrays


def _groups(found: Mapping[str, Any], settings: LinkSettings) -> Groups:
    groups = Groups(settings)
    groups.accounts = {account.number: account for account in (_account(one) for one in found["accounts"])}
    groups.grouped = {account.number: account for account in (_account(one) for one in found["grouped"])}
    for one in found["groups"]:
        group = msgspec.convert({**one, "accounts": {}, "strong": {}, "weighed": {}}, Group)
        group.weighed = dict.fromkeys(one["weighed"])
        group.accounts = dict.fromkeys(one["accounts"])
        group.strong = dict.fromkeys(one["strong"])
        if len(group.counts) != KINDS or any(groups.grouped[number].group != group.number for number in group.accounts):
            raise SnapshotError("the saved links are damaged: a group and its accounts disagree")
        groups.groups[group.number] = group
    groups.pooled = {number: None for number, group in groups.groups.items() if group.excess}
    if any(account.group not in groups.groups for account in groups.grouped.values()):
        raise SnapshotError("the saved links are damaged: an account is in a group that is missing")
    for number, queries, strong, accounts, credited, made in found["chains"]:
        groups.chains[number] = Chain(queries, strong, dict(accounts), dict(credited), made)
    groups.credited = dict.fromkeys(found["credited"])
    groups.made = {uid: [(a, b, c) for a, b, c in ends] for uid, ends in found["made"]}
    groups.makers = dict(found["makers"])
    return groups


def _account(one: Mapping[str, Any]) -> Account:
    account = msgspec.convert(one, Account)
    if account.counts and len(account.counts) != KINDS:
        raise SnapshotError("the saved links are damaged: an account has other kinds of events")
    return account
