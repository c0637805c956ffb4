"""Native records of every usual kind, and bytes of them changed: what the scanner and the decoders are shown alike."""

import base64
import json
import random
import struct
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["changed", "records"]

NOW: Final = 1_777_890_667_412

_TEXTS: Final = [
    "acme",
    "Müller & Söhne",
    "客户-7",
    "\U0001f600",
    'a"b',
    "a\\b",
    "x" * 256,
    "ü" * 128,
    "é" * 200,
    "\x7f",
    "a/b",
    "tab\t",
]
_TIMES: Final[list[Any]] = [
    *("2026-05-04T10:31:07Z", "2026-05-04T10:31:07.412Z", "2026-05-04T12:31:07.412345+02:00", "2026-02-28T23:59:59.9-11:30"),
    *(
        "2024-02-29T00:00:00Z",
        "2026-04-30T00:00:00.123456789Z",
        "2025-12-31T23:59:60Z",
        "2026-05-04t10:31:07z",
        "2000-01-01T00:00:00Z",
    ),
    *(
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2026-05-04T24:00:00Z",
        "2026-05-04T10:31:07+24:00",
    ),
    *(
        "2026-05-04T10:31:07",
        "1999-12-31T23:30:00-01:00",
        "2000-01-01T00:30:00+01:00",
        "2026-05-04T10:31:07.Z",
        "9999-12-31T23:59:59-01:00",
    ),
    *(
        NOW,
        NOW // 1000,
        NOW * 1000,
        NOW * 10**6,
        NOW / 1000,
        float(NOW),
        1777890667.4125,
        1777890667.0000005,
        9.4668e8,
        946684800,
    ),
    *(946684799, 946684799.9999999, NOW + 10**9, 0, -1, 1e11, 1e14, 99999999999, 99999999999.5, 10**17 - 1, 10**18, 1.7e18),
]
_NUMBERS: Final = [
    *(
        "0",
        "-0",
        "0.0",
        "-0.0",
        "-0e5",
        "1",
        "-17",
        "1e5",
        "1E+5",
        "1.5e-7",
        "0.1",
        "0.30000000000000004",
        "3.4028234663852886e38",
    ),
    *("3.4028235677973366e38", "-3.4028235677973366e38", "3.4028235677973362e38", "1e39", "1e308", "1e309", "1e-320", "5e-324"),
    *(
        "2.2250738585072014e-308",
        "9007199254740993",
        "9007199254740992.5",
        "12345678901234567890",
        "1234567890123456789",
        "1e-45",
    ),
    *(
        "0.00000000000000000000000000001234567890123",
        "123456789012345678901234567890",
        "1e",
        "1.",
        ".5",
        "01",
        "+1",
        "1.5.2",
        "--1",
    ),
    *(
        "7.0064923216240853546186479164495806564013097093825788587853e-46",
        "1.401298464324817e-45",
        "1e22",
        "1e23",
        "8.5e22",
        "0e999",
    ),
]
_EDGES: Final = (1.0000005, 1.000002, -1e-7, -0.0)
_TOKENS: Final = [
    *(
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"Infinity",
        b'""',
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"{}",
        b"[]",
        b"\\",
        b"\\u00e9",
    ),
    *(
        b"\\ud83d\\ude00",
        b"\\ude00",
        b"\\uD83d",
        b"\\ud800",
        b"\\/",
        b"\\n",
        b"\\x",
        b"\x00",
        b"\n",
        b"\t",
        b" ",
        b"\r",
        b"\xff",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
    ),
    *(
        b"\xf0\x9f\x98\x80",
        b"\xc0\x80",
        b'"client"',
        b'"id"',
        b'"label"',
        b'"vector"',
        b'"time":',
        b"\xef\xbb\xbf",
        b'"\\u0069d"',
    ),
    *(b'"x":[[[{"a":[1,2,{}]}]]],', b'"trusted":true,', b'"value":1.5,', b'"perturbed":null,', b"=", b"1e400", b"-", b"0"),
]


def records(rng: random.Random) -> Iterator[bytes]:
    """Yield valid and nearly valid records without end."""
    number = 0
    while True:
        yield _record(rng, number)
        number += 1


def changed(rng: random.Random, line: bytes) -> bytes:
    """Return a record with up to four changes of its bytes."""
    value = bytearray(line)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(value) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            value[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            value[at:at] = rng.choice(_TOKENS)
        elif kind == 2:
            del value[at : at + rng.choice((1, 1, 1, 8, 40))]
        elif kind == 3:
            other = rng.randrange(len(value) + 1)
            value[at:at] = value[other : other + rng.choice((1, 4, 30))]
        elif kind == 4:
            value[at : at + 1] = b'0123456789.-eE"{}[],: '[(k := rng.randrange(22)) : k + 1]
        elif kind == 5:
            end = at
            while end < len(value) and value[end : end + 1] not in b",]}":
                end += 1
            while at > 0 and value[at - 1 : at] not in b":,[":
                at -= 1
            value[at:end] = rng.choice((rng.choice(_TOKENS), rng.choice(_NUMBERS).encode()))
        elif rng.random() < 0.2:
            del value[at:]
    return bytes(value)


def _record(rng: random.Random, number: int) -> bytes:
    client: dict[str, Any] = {"id": rng.choice(_TEXTS) if rng.random() < 0.3 else f"c{rng.randrange(9)}"}
    if rng.random() < 0.3:
        client |= {
            name: rng.choice((None, *_TEXTS[:8], "y" * rng.choice((255, 256, 257))))
            for name in rng.sample(("type", "organization", "ip", "user_agent", "more"), 2)
        }
    if rng.random() < 0.3:
        client["trusted"] = rng.choice((True, False, None))
    model: dict[str, Any] = {"id": rng.choice(("fraud", "fraud", "fraud", "spam", "größe"))}
    if rng.random() < 0.3:
        model["version"] = rng.choice(("1.0", "2", None, "ü"))
    event = {
        "event_id": f"e{number}" if rng.random() < 0.9 else rng.choice(_TEXTS),
        "time": rng.choice(_TIMES) if rng.random() < 0.25 else NOW + number,
        "client": client,
        "model": model,
        "input": _input(rng),
        "output": _output(rng),
    }
    if rng.random() < 0.3:
        more: dict[str, Any] = {
            "latency_ms": rng.choice((12, 0.5, 0, 0, 7.25, -1, None)),
            "status": rng.choice((200, 200, 404, None, 2**63 - 1, 2**63, 200.0)),
            "sampled_rate": rng.choice((1, 30, 2.5, 1e300, 10, 0.5, None)),
            "region": rng.choice(("eu", {"a": [1, {"b": "ü\n"}], "c": None}, [], 1e20, True, "\U0001f600")),
        }
        event |= {name: more[name] for name in rng.sample(list(more), 2)}
    items = list(event.items())
    if rng.random() < 0.3:
        rng.shuffle(items)
    style: dict[str, Any] = {"separators": (",", ":")} if rng.random() < 0.6 else {"indent": rng.choice((None, 1))}
    text = json.dumps(dict(items), ensure_ascii=rng.random() < 0.5, **style)
    return text.replace('"@', "").replace('@"', "").encode()


def _input(rng: random.Random) -> dict[str, Any]:
    size = rng.choice((3, 3, 3, 4))
    if rng.random() < 0.2:
        kinds = (rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-1, 1), float("nan"), float("inf"))
        packed = base64.b64encode(struct.pack(f"<{size}f", *(rng.choice(kinds) for _ in range(size)))).decode()
        return {"vector_b64": packed} | ({"vector": None} if rng.random() < 0.1 else {})
    numbers: list[Any] = [_number(rng) for _ in range(size)]
    if rng.random() < 0.1:
        numbers[rng.randrange(size)] = None
    return {"vector": numbers} | ({"columns": None, "units": "m"} if rng.random() < 0.1 else {})


def _number(rng: random.Random) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        return f"@{rng.choice(_NUMBERS)}@" if rng.random() < 0.05 else rng.randrange(-100, 100)
    if kind == 1:
        return struct.unpack("<f", struct.pack("<f", rng.gauss(0, 1)))[0]
    if kind == 2:
        return f"@{rng.gauss(0, 1):.{rng.randrange(20)}f}@"
    if kind == 3:
        return f"@{rng.random()!r}{'e' + str(rng.randrange(-30, 30)) if rng.random() < 0.5 else ''}@"
    return rng.gauss(0, 1) * 10.0 ** rng.randrange(-12, 12)


def _output(rng: random.Random) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if rng.random() < 0.7:
        output["label"] = rng.choice((0, 1, -3, "benign", "böse", "", None, 10**17, 10**20, "a\u00e9\n", "z" * 256, 1.0))
        if rng.random() < 0.8:
            output["label"] = rng.randrange(3)
    if rng.random() < 0.7:
        n = rng.choice((1, 2, 3, 12))
        edges = _EDGES if rng.random() < 0.1 else ()
        output["probabilities"] = [rng.choice((0, 1, 0.5, rng.random(), rng.random() * 1e-200, *edges)) for _ in range(n)]
    if rng.random() < 0.1:
        output |= rng.choice((
            {"value": 3.5}, {"value": -3}, {"value": None}, {"ranking": ["a", "b"]}, {"perturbed": None}, {"more": [1, "x"]},
            {"perturbed": {"mode": "top1"}, "original": {"label": 2}}, {"ranking": ["a"], "ranking_scores": [0.5]},
        ))  # fmt: skip
    return output
