"""Mutated records: golden samples with their bytes, texts, structure, tensors, bodies and headers changed.

The same seed gives the same records. A body that is JSON text or base64 within a record is changed inside and written again, so
that mutations reach what a server logged and not only what is around it.
"""

import base64
import binascii
import bz2
import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from detector.ingest.formats.decoder import Header, Record

__all__ = ["mutants"]

_Change: TypeAlias = Callable[[random.Random, Any], Any]

_WRONG: Final[list[Any]] = [
    *(None, True, False, 0, -1, 0.5, 1e300, -1e-300, 10**400, -(10**23), 2**63, 2**64, 1 << 53),
    *(
        "",
        " ",
        "x",
        "\x00",
        "\ud800",
        "\udc00\ud83d",
        "\U0001f600",
        "9" * 5000,
        "1e999",
        "-",
        "nan",
        "Infinity",
        "null",
        "\uff21",
    ),
    *([], {}, [[]], [{}], {"": []}, [None], [[], [1]], float("nan"), float("inf"), float("-inf")),
    *("1970-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "0000-00-00", "2026-05-04 10:31", 1e18, 1e9, "1777890667412"),
]
_SHAPES: Final[list[Any]] = [
    *(
        [],
        [0],
        [-1],
        [1],
        [1, 0],
        [10**12],
        [10**12, 10**12],
        [2**63, 2**63],
        [10**400],
        [True, 2],
        [1.5],
        ["2", 2],
        None,
        "2x2",
    ),
    *([2, 2, 2, 2], [1] * 70, [10**20] * 2000, [1, 10**9, 3], [[2], 2], {"0": 2}, [None, 2], [4, 1], [1, 4], [2, 1, 2]),
]
_DATATYPES: Final[list[Any]] = [
    "BYTES",
    "BOOL",
    "FP16",
    "BF16",
    "INT8",
    "UINT64",
    "FP32",
    "",
    "fp32",
    "COMPLEX",
    None,
    32,
    [],
    {},
]
_KINDS: Final[list[Any]] = [
    "CSV",
    "JSON",
    "BASE64",
    "text/csv",
    "application/json",
    "gzip",
    "application/octet-stream",
    "",
    None,
    7,
]
_TOKENS: Final = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e400",
    b"-",
    b"01",
    b"1" * 5000,
    b"0x1",
    b"'a'",
    b"\\u0041",
    b"nul",
    b"tru",
]
_BITS: Final = [
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xf4\x90\x80\x80",
    b"\x00",
    b"\xef\xbb\xbf",
    b"\r\n",
]
_BOMB: Final = bytes(64 << 20)
_DEEP: Final = (5, 50, 400, 5000)


def mutants(rng: random.Random, samples: Sequence[Record], count: int) -> Iterator[Record]:
    """Yield `count` records: a sample as it is or with up to three changes; its number is its place."""
    for number in range(count):
        record = samples[number % len(samples)]
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3))):
            record = rng.choice(_CHANGES)(rng, record)
        yield record._replace(place=number)


def _bytes_changed(rng: random.Random, record: Record) -> Record:
    value = bytearray(record.value)
    for _ in range(rng.choice((1, 1, 3, 10))):
        at = rng.randrange(len(value) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            value[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            value[at:at] = rng.choice(_BITS)
        elif kind == 2:
            del value[at : at + rng.choice((1, 1, 8, 64))]
        else:
            value[at:at] = value[max(0, at - rng.choice((1, 10, 100))) : at]
    return record._replace(value=bytes(value))


def _cut(rng: random.Random, record: Record) -> Record:
    at = rng.randrange(len(record.value) + 1)
    return record._replace(value=record.value[:at] if rng.random() < 0.8 else record.value[at:])


def _recoded(rng: random.Random, record: Record) -> Record:
    """Write the record in another encoding, twice, in an array, packed, or not at all."""
    value = record.value
    text = value.decode(errors="replace")
    packed = gzip.compress(value, 1, mtime=0)
    other = rng.choice((
        text.encode("utf-16"), text.encode("utf-32"), text.encode("utf-7"), b"\xef\xbb\xbf" + value, value + value,
        value + b"\n" + value, b"[" + value + b"," + value + b"]", b"[[" + value + b"]]", packed, bz2.compress(value),
        base64.b64encode(value), json.dumps(text).encode(), value + b",", b"  " + value + b"  ", b"", b"[]", b"{}", b"null",
    ))  # fmt: skip
    return record._replace(value=other)


def _token_changed(rng: random.Random, record: Record) -> Record:
    """Put what is no JSON, or hardly, in the place of a number or a word."""
    value = record.value
    starts = [
        at for at in range(len(value)) if value[at : at + 1] in b"0123456789tfn" and value[max(0, at - 1) : at] in b":,[ "
    ]
    if not starts:
        return record
    at = rng.choice(starts)
    end = at
    while end < len(value) and value[end : end + 1] not in b',]} \n"':
        end += 1
    return record._replace(value=value[:at] + rng.choice(_TOKENS) + value[end:])


def _key_repeated(rng: random.Random, record: Record) -> Record:
    """Give an object a key twice, with another value."""
    value = record.value
    opens = [at for at in range(len(value)) if value[at : at + 1] == b"{"]
    if not opens:
        return record
    at = rng.choice(opens) + 1
    key = value[at : value.find(b":", at)].strip()
    if not key.startswith(b'"'):
        key = b'"a"'
    other = json.dumps(rng.choice(_WRONG[:20])).encode()
    return record._replace(value=value[:at] + key + b":" + other + b"," + value[at:])


def _structure_changed(rng: random.Random, record: Record) -> Record:
    try:
        document = json.loads(record.value)
        changed = _within(rng, document, rng.choice(_STRUCTURE))
        return record._replace(value=json.dumps(changed, ensure_ascii=rng.random() < 0.7).encode(errors="surrogatepass"))
    except (ValueError, RecursionError):
        return _bytes_changed(rng, record)


def _within(rng: random.Random, document: Any, change: _Change) -> Any:
    """Apply a change at a random place of a document; within a text that is JSON or base64, now and then inside of it."""
    if isinstance(document, dict) and document and rng.random() < 0.85:
        key = rng.choice(list(document))
        if change in (_of_tensor, _of_column) and rng.random() < 0.5:
            return change(rng, document)
        return {**document, key: _within(rng, document[key], change)}
    if isinstance(document, list) and document and rng.random() < 0.85:
        at = rng.randrange(len(document))
        return [*document[:at], _within(rng, document[at], change), *document[at + 1 :]]
    if isinstance(document, str) and len(document) > 1 and rng.random() < 0.8:
        if document[0] in "{[":
            try:
                return json.dumps(_within(rng, json.loads(document), change))
            except (ValueError, RecursionError):
                return change(rng, document)
        inside = _unpacked(document)
        if inside is not None:
            try:
                return base64.b64encode(json.dumps(_within(rng, json.loads(inside), change)).encode()).decode()
            except (ValueError, RecursionError):
                return _base64_changed(rng, document, inside)
    return change(rng, document)


def _unpacked(text: str) -> bytes | None:
    if len(text) % 4 or len(text) < 8:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _base64_changed(rng: random.Random, text: str, inside: bytes) -> str:
    bomb = gzip.compress(_BOMB[: rng.choice((1 << 10, 1 << 20))], 1, mtime=0)
    return rng.choice((
        text[:-1], text[:-2] + "*=", text.replace("+", "-"), text + "\n", text + "=", text[1:],
        base64.b64encode(inside[: len(inside) // 2]).decode(), base64.b64encode(bomb).decode(),
        base64.b64encode(inside + bytes(3)).decode(), base64.b85encode(inside).decode(), text[:4] + "\ud800" + text[4:],
    ))  # fmt: skip


def _of_wrong(rng: random.Random, value: Any) -> Any:
    del value
    return rng.choice(_WRONG)


def _of_type(rng: random.Random, value: Any) -> Any:
    """Write a value as one of another type that means nearly the same."""
    kinds: list[Any] = [
        [value],
        {"0": value},
        json.dumps(value),
        [value, value],
        {"value": value},
        {"data": value, "shape": [1]},
    ]
    if isinstance(value, dict):
        kinds += [list(value.values()), list(value), list(map(list, value.items())), {**value, "": value}]
    elif isinstance(value, list):
        kinds += [
            dict(enumerate(map(str, value))),
            {str(at): entry for at, entry in enumerate(value)},
            value * 2,
            value[1:],
            value[:1],
        ]
    elif isinstance(value, str):
        kinds += [value.encode(errors="replace").hex(), list(value), value * 300, value[::-1], value.upper(), f" {value}\t"]
    elif isinstance(value, int | float):
        kinds += [
            str(value),
            -value,
            value if isinstance(value, int) else value * 1e308,
            f"{value}",
            bool(value),
            [value] * 5000,
        ]
    return rng.choice(kinds)


def _of_depth(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice(_DEEP[:3])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _of_column(rng: random.Random, value: Any) -> Any:
    """Remove, add, rename or swap entries."""
    if isinstance(value, dict) and value:
        keys = list(value)
        key, other = rng.choice(keys), rng.choice(keys)
        return rng.choice((
            {name: below for name, below in value.items() if name != key},
            {**value, key: value[other], other: value[key]},
            {name.upper() if name == key else name: below for name, below in value.items()},
            {**value, key + "\ud800": value[key]},
            {**value, **{f"x{n}": n for n in range(300)}},
            dict(reversed(value.items())),
        ))  # fmt: skip
    if isinstance(value, list) and value:
        entry = rng.choice(value)
        return rng.choice(
            ([*value, entry], value[:-1], [*value, None], [*value, [entry]], [entry, *value], value * 50, value[::-1])
        )
    return None


def _of_tensor(rng: random.Random, value: Any) -> Any:
    """Change shape, type and data of what looks like a tensor, else make one of it."""
    tensor = dict(value) if isinstance(value, dict) else {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": value}
    kind = rng.randrange(5)
    if kind == 0:
        tensor["shape"] = rng.choice(_SHAPES)
    elif kind == 1:
        tensor["datatype"] = rng.choice(_DATATYPES)
    elif kind == 2:
        tensor["parameters"] = rng.choice(
            ({"binary_data_size": rng.choice((-1, 0, 3, 8, 2**40, "8"))}, {"content_type": "base64"}, [])
        )
    elif kind == 3:
        key = rng.choice(("data", "fp32_contents", "contents", "floatVal", "tensorContent", "values", "tensor_shape", "dtype"))
        tensor[key] = rng.choice(
            (None, "AAAA", "%%%", [[1, 2], 3], [[[[1]]]], [1] * 4097, {"shape": [10**12]}, [float("nan")], {})
        )
    else:
        key = rng.choice(("encoding", "contentType", "observedContentType", "content_type", "content-type", "content-encoding"))
        tensor[key] = rng.choice(_KINDS)
    return tensor


def _of_bomb(rng: random.Random, value: Any) -> Any:
    """Put a body there that unpacks to much more than it is."""
    del value
    size = rng.choice((1 << 10, 1 << 20, 8 << 20))
    packed = rng.choice((gzip.compress(_BOMB[:size], 1, mtime=0), bz2.compress(_BOMB[: min(size, 1 << 20)], 1)))
    return rng.choice(
        (
            base64.b64encode(packed).decode(),
            packed.decode("latin-1"),
            "data:image/png;base64," + base64.b64encode(packed).decode(),
        )
    )


_STRUCTURE: Final[list[_Change]] = [
    _of_wrong,
    _of_wrong,
    _of_type,
    _of_type,
    _of_column,
    _of_column,
    _of_tensor,
    _of_tensor,
    _of_depth,
    _of_bomb,
]


def _headers_changed(rng: random.Random, record: Record) -> Record:
    headers: list[Header] = list(record.headers)
    if not headers or rng.random() < 0.2:
        name = rng.choice(
            ("ce_type", "type", "ce_id", "content-type", "inference-header-content-length", "", "\ud800", "x-request-id")
        )
        return record._replace(
            headers=[*headers, (name, rng.choice((None, b"", b"\xff", b"9" * 20, b"x" * 5000, b"-1", b"7")))]
        )
    at = rng.randrange(len(headers))
    name, value = headers[at]
    value = value or b""
    headers[at] = rng.choice((
        (name, None), (name, b""), (name, b"\xff\xfe" + value), (name, value[: len(value) // 2]), (name.upper(), value),
        (name, value * 400), ("x" + name, value), (name, b"{" * 5000), (name, b"9" * 30), (name, b"\x00"), (name, value + b"]"),
    ))  # fmt: skip
    if rng.random() < 0.2:
        headers.append((name, value))
    return record._replace(headers=headers)


def _place_changed(rng: random.Random, record: Record) -> Record:
    kind = rng.randrange(3)
    if kind == 0:
        return record._replace(
            topic=rng.choice(("", "x", "a/b/2026/05/04/10/x.jsonl", "seldon.ns.model.m.inputs", "\ud800", "t" * 5000))
        )
    if kind == 1:
        return record._replace(time_ms=rng.choice((None, 0, -1, 2**63 - 1, -(2**63), 1_777_890_667_412, 1)))
    return record._replace(key=rng.choice((None, b"", b"\xff", b"k" * 5000)))


def _deep(rng: random.Random, record: Record) -> Record:
    """Nest a value deeper than any parser goes."""
    depth = rng.choice(_DEEP)
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    at = record.value.find(b":") + 1
    end = record.value.find(b",", at)
    if at == 0 or end < 0 or rng.random() < 0.2:
        return record._replace(value=opening * depth + record.value + (closing * depth if rng.random() < 0.7 else b""))
    return record._replace(
        value=record.value[:at] + opening * depth + record.value[at:end] + closing * depth + record.value[end:]
    )


_CHANGES: Final = [
    _bytes_changed, _cut, _recoded, _token_changed, _key_repeated, _headers_changed, _headers_changed, _place_changed, _deep,
    *[_structure_changed] * 9,
]  # fmt: skip
