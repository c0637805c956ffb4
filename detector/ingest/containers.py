"""What form a log has, seen from its first bytes: lines, objects, one array, or a table with a header.

A line that is an array is a record (APISIX writes a batch a line), so a file is one array only where its first line is not
followed by another line that begins one.
"""

import csv
import io
import json
import re
from typing import Final, Literal, NamedTuple, TypeAlias

from detector.ingest.lines import BYTE_ORDER_MARK
from detector.ingest.values import is_number

__all__ = ["DELIMITERS", "Container", "Form", "Shape", "Text", "form_of", "read_text"]

Shape: TypeAlias = Literal["lines", "objects", "array", "table"]

DELIMITERS: Final = ",;\t|"
_NOT_IN_NAMES: Final = re.compile(r"[{}\"\\\x00-\x08]|: |^\s*\[")
_NEAR_END: Final = 12  # bytes: a literal or an escape that the end of a block cut is no longer


class Form(NamedTuple):
    """The form of a log, and what parts the cells where it is a table."""

    shape: Shape
    delimiter: str = ""


class Container(NamedTuple):
    """What a log is, seen from its first bytes: its form, what it is compressed with, and what else its text has."""

    shape: Shape | Literal["parquet"] = "lines"
    delimiter: str = ""
    compression: str = ""
    byte_order_mark: bool = False
    carriage_returns: bool = False

    def tell(self) -> str:
        """Say it in words.

        >>> Container("table", ";", compression="gzip").tell(), Container("lines").tell()
        ('gzip, table with a header, cells between ";"', 'a record a line')
        """
        cells = "tabs" if self.delimiter == "\t" else f'"{self.delimiter}"'
        words = {
            "lines": "a record a line",
            "objects": "JSON objects, over several lines or without line ends",
            "array": "one JSON array",
            "table": f"table with a header, cells between {cells}",
            "parquet": "Parquet",
        }
        found = [self.compression, words[self.shape]]
        found += ["byte order mark"] * self.byte_order_mark + ["CRLF"] * self.carriage_returns
        return ", ".join(filter(None, found))


class Text(NamedTuple):
    """What stands at a place of a text: a JSON value that ends before `end`, the beginning of one, or no JSON at all."""

    kind: Literal["whole", "begun", "broken"]
    end: int
    error: str = ""
    in_string: bool = False


_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode


def read_text(text: str, start: int) -> Text:
    """Tell what JSON value stands at `start`; the text holds bytes as Latin-1, so that places are those of bytes."""
    try:
        _, end = _scan(text, start)
    except RecursionError:
        return Text("broken", start, "nested too deep")
    except json.JSONDecodeError as error:
        cut_string = error.msg.startswith("Unterminated")
        if cut_string or error.pos >= len(text) - _NEAR_END:
            return Text("begun", error.pos, in_string=cut_string)
        return Text("broken", error.pos, error.msg)
    return Text("whole", end)


def form_of(head: bytes, *, ended: bool, patient: bool = True) -> Form | None:
    r"""Return the form of a log that begins with `head`, None where more of it must be seen.

    `ended` says that `head` is all there is. Without `patient` the first line decides, as nobody may have to wait for a second.

    >>> form_of(b'{"a": 1}\n', ended=False), form_of(b'[\n  {"a": 1}', ended=False)
    (Form(shape='lines', delimiter=''), Form(shape='array', delimiter=''))
    >>> form_of(b"id;score\ne1;0.5\n", ended=True)
    Form(shape='table', delimiter=';')
    """
    if not ended and BYTE_ORDER_MARK.startswith(head):
        return None
    text = head.removeprefix(BYTE_ORDER_MARK).decode("latin-1")
    start = len(text) - len(text.lstrip())
    first, newline, rest = text[start:].partition("\n")
    if not first:
        return Form("lines") if ended else None
    following = rest.lstrip()
    known = ended or bool(following)
    if first[0] in "{[":
        return _json_form(first.rstrip(), bool(newline) or ended, following, known=known, patient=patient, ended=ended)
    if not newline and not ended:
        return None
    return _table_form(first, rest, known=known, ended=ended)


def _json_form(first: str, whole: bool, following: str, *, known: bool, patient: bool, ended: bool) -> Form | None:
    lines, opening = Form("lines"), first[0]
    several = Form("array" if opening == "[" else "objects")
    found = read_text(first, 0)
    if found.kind == "whole":
        after = first[found.end :].lstrip()
        if after:
            return Form("objects") if after[0] in "{[," else lines
        if not whole:
            return None
        if opening == "{" or not _holds_objects(first):
            return lines
        if not known:
            return None if patient else lines
        return several if ended and not following else lines
    if not whole:
        return None
    if found.kind == "broken" or found.in_string:
        return several if opening == "[" and re.match(r"\[\s*\{", first) and following[:1] == "{" else lines
    if first != opening and known and (not following or following[0] == opening):
        return lines
    return several if known or first == opening else None


def _holds_objects(first: str) -> bool:
    return re.match(r"\[\s*\{", first) is not None


def _table_form(first: str, rest: str, *, known: bool, ended: bool) -> Form | None:
    lines = Form("lines")
    header = first.rstrip("\r")
    if _NOT_IN_NAMES.search(header.replace('"', "")) or len(header) > 1 << 16:
        return lines
    headers = {delimiter: _cells(header, delimiter) for delimiter in DELIMITERS}
    most = max(headers, key=lambda delimiter: ('"' not in "".join(headers[delimiter]), len(headers[delimiter])))
    names = headers[most]
    if len(names) < 2 or sum(map(is_number, names)) * 2 > len(names) or not all(name.strip() for name in names[1:]):
        return lines
    if not known:
        return None
    following = rest.lstrip("\r\n")
    second, newline, _ = following.partition("\n")
    if not newline and not ended:
        return None
    if second and ('"' in second or len(_cells(second.rstrip("\r"), most)) == len(names)) and second[0] not in "{[":
        return Form("table", most)
    return Form("table", most) if not second else lines


def _cells(row: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(row), delimiter=delimiter), [])
    except csv.Error:
        return []
