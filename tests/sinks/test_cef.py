"""CEF lines: what is escaped can be read back, and keys, types and lengths are those of the dictionary."""

import csv
import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.sinks import cef
from detector.sinks.message import Document
from detector.sinks.sample import sample_alert, sample_decision

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def parse(line: str) -> tuple[list[str], dict[str, str]]:
    """Read a line as a receiver would: seven fields separated by unescaped bars (|), then keys and values."""
    fields, text, rest = [], "", iter(line.removeprefix("CEF:"))
    for character in rest:
        if character == "\\":
            text += next(rest)
        elif character == "|":
            fields.append(text)
            text = ""
            if len(fields) == 7:
                break
        else:
            text += character
    tail = "".join(rest)
    # A key is a word before an equals sign that no backslash stands before; its value goes on to the next key.
    starts = list(re.finditer(r"(?:^| )([A-Za-z0-9_]+)=", tail))
    values = {}
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        raw = tail[match.end() : following.start() if following else None]
        values[match[1]] = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), raw)
    return fields, values


@pytest.fixture(scope="module")
def dictionary(golden: Path) -> dict[str, tuple[str, int | None]]:
    """Return type and length by key, as published."""
    rows = (line for line in (golden / "cef-dictionary.tsv").read_text("ascii").splitlines() if not line.startswith("#"))
    return {row["key"]: (row["type"], int(row["length"] or 0) or None) for row in csv.DictReader(rows, delimiter="\t")}


@given(st.text(), st.text(), st.text())
def test_what_is_escaped_is_read_back(client: str, model: str, reason: str) -> None:
    """Whatever stands in a value, the parser finds the same keys, and the same values but for control characters."""
    decision = sample_decision(
        subject={"type": "client", "id": client or "x"},
        scope={"models": [model or "x"]},
        reason={"code": reason, "admin": reason},
    )
    line = cef.render(decision)
    assert len(line.splitlines()) == 1
    _, values = parse(line)
    kept = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
    for key, text in (("suser", client or "x"), ("cs1", model or "x"), ("reason", reason), ("cs2", reason)):
        assert kept.sub(" ", text).startswith(values[key])
        assert len(values[key]) == len(text) or len(cef.value(text, cef.LENGTHS[key]).encode()) > cef.LENGTHS[key] - 5
    assert set(values) == set(parse(cef.render(sample_decision()))[1])


@given(st.text(), st.text())
def test_the_header_is_read_back(code: str, name: str) -> None:
    """Bars and backslashes in the header do not move the fields after them."""
    line = f"CEF:0|v|p|1|{cef.header(code)}|{cef.header(name)}|5|a=b"
    fields, values = parse(line)
    assert fields[4:6] == [CONTROL.sub(" ", code), CONTROL.sub(" ", name)]
    assert (len(fields), values) == (7, {"a": "b"})


@given(st.text(), st.integers(0, 40))
def test_cutting_keeps_to_the_length(text: str, most: int) -> None:
    """A value has at most so many bytes, is a beginning of the whole one, and ends in no half escape."""
    cut = cef.value(text, most)
    assert len(cut.encode()) <= most
    assert cef.value(text).startswith(cut)
    assert len(re.search(r"\\*$", re.sub(r"\\\\", "", cut))[0]) == 0  # type: ignore[index]  # it always matches


def test_keys_types_and_lengths_are_published(documents: list[Document], dictionary: dict[str, tuple[str, int | None]]) -> None:
    """Every key is in the dictionary, every value is of its type and not longer than it may be."""
    for document in documents:
        fields, values = parse(cef.render(document))
        assert fields[:3] == ["0", "detector", "detector"]
        assert 0 <= int(fields[6]) <= 10
        for key, value in values.items():
            kind, longest = dictionary[key]
            if kind == "String":
                assert len(cef.value(value).encode()) <= (longest or 10**6), key
            elif kind in {"Integer", "Time Stamp"}:
                assert -(2**63) <= int(value) < 2**63, key
            elif kind == "Floating Point":
                float(value)
            else:
                assert ipaddress.ip_address(value).version == (4 if kind.startswith("IPv4") else 6), key
            assert not key.endswith("Label") or key.removesuffix("Label") in values
        custom = {key for key in values if re.fullmatch(r"c(s|n|fp|6a)\d|deviceCustomDate\d", key)}
        assert {f"{key}Label" for key in custom} <= set(values)


def test_lengths_are_those_of_the_dictionary(dictionary: dict[str, tuple[str, int | None]]) -> None:
    """The lengths to which values are cut are the published ones."""
    assert {key: dictionary[key] for key in cef.LENGTHS} == {key: ("String", most) for key, most in cef.LENGTHS.items()}


def test_golden(documents: list[Document], golden: Path) -> None:
    """The same documents give the same lines as ever."""
    assert [cef.render(document) for document in documents] == (golden / "cef.txt").read_text("utf-8").split("\n")[:-1]


def test_shadow_mode_is_no_action() -> None:
    """A search for the action finds what was done, and not what would have been."""
    assert parse(cef.render(sample_alert()))[1]["act"] == "block"
    shadow = parse(cef.render(sample_alert(shadow=True)))[1]
    assert (shadow["act"], shadow["cs3Label"], shadow["cs3"]) == ("simulated block", "shadow", "true")


def test_ids_that_are_too_long_still_differ() -> None:
    """Two long ids with the same beginning give two external ids."""
    ids = {parse(cef.render(sample_alert(alert_id="x" * 100 + end)))[1]["externalId"] for end in "ab"}
    assert len(ids) == 2
    assert all(len(one) == 40 for one in ids)
