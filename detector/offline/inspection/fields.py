"""Headers, paths and fields of bodies that may say who asked, where a log's format does not know."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from detector.ingest.formats.call import Call
from detector.ingest.formats.identity import body_of, text_of
from detector.ingest.values import number_of
from detector.names import harmless_json

__all__ = ["NAMES", "NEVER", "Candidate", "Fields", "client_names", "nameable", "path_name", "place_of"]

_WORDS: Final = r"consumer|user|client|principal|api.?key|tenant|custom.?attributes|requester|account|caller|subscriber"
NAMES: Final = re.compile(_WORDS, re.IGNORECASE)
NEVER: Final = re.compile(
    r"user.?agent|(client|user).?(ip|addr|port)|latency|_ms$|authorization|cookie|password|secret|token$", re.IGNORECASE
)
"""Names of fields that say no client, or hold what nobody should read in an alert."""

_COUNTS: Final = r"^(?!(?:is|has|num|n|count|total|avg|mean|max|min)[_.-])"


def client_names(more: str = "") -> re.Pattern[str]:
    """Return what matches names that can only mean a client: they end in such a word, or in its id; `more` adds words.

    >>> [bool(client_names().search(name)) for name in ("user_id", 'who."client id"', "account_age", "n_users")]
    [True, True, False, False]
    """
    words = f"{_WORDS}|{more}" if more else _WORDS
    return re.compile(
        rf"{_COUNTS}.*(?:{words})(?:[^a-z]?(?:id|name|key|uuid|hash|no|email|login|sub|alias))*\"?$", re.IGNORECASE
    )


_CERTAIN: Final = client_names()
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PREFIX: Final = re.compile(r"([^:/|#@;,=]{1,200})[:/|#]")
_PAIR: Final = re.compile(r"(?:^|[,; ])([\w.-]{1,40})=([^,; ]+)")
_LONGEST_NAME: Final = 200  # characters: callers choose the names in bodies
_MOST_VALUES: Final = 1000
_MOST_FIELDS: Final = 200
_PAIRS_IN: Final = re.compile(r"attributes", re.IGNORECASE)  # hold `name=value`, so that the whole text is no client
_MOST_ENTRIES: Final = 20  # of a list
_MOST_KEYS: Final = 1000  # of a document that are looked at
_LONGEST: Final = 256
_DEPTH: Final = 5
_SHARE: Final = 0.5  # of calls that a field has to be in
_MOST_SHARE: Final = 0.5  # of distinct values among the calls, above which a field is an id of the call rather than of a client


class Candidate(NamedTuple):
    """A rule that may say who asked: in how many calls it finds a text, and how many clients that makes."""

    kind: str
    name: str
    records: int
    values: int
    pattern: str | None = None

    def rule(self) -> dict[str, str]:
        """Return it as an entry of ``[[ingest.clients]]`` has it."""
        return {self.kind: self.name} | ({} if self.pattern is None else {"pattern": self.pattern})


class Fields:
    """Counts the values of fields whose names sound like a client, of the calls that nobody is known to have made."""

    def __init__(self) -> None:
        self._calls = 0
        self._seen: dict[tuple[str, str, str | None], Counter[str]] = {}

    def note(self, call: Call) -> None:
        """Look at one call."""
        self._calls += 1
        for name, text in call.headers.items():
            self._look("header", name, text)
        for kind, document in (("path", call.document), ("body", body_of(call))):
            for name, value in _leaves(document):
                for text in filter(None, map(text_of, value[:_MOST_ENTRIES] if isinstance(value, list) else [value])):
                    self._look(kind, name, text)

    def candidates(self) -> list[Candidate]:
        """Return what is in at least half of the calls and groups them, the best first."""
        found = [
            candidate
            for (kind, name, pattern), counts in self._seen.items()
            if counts.total() >= _SHARE * self._calls
            and (candidate := _candidate(Candidate(kind, name, counts.total(), len(counts), pattern), counts)) is not None
        ]
        kinds = ("header", "path", "body")
        return sorted(
            found,
            key=lambda one: (
                one.values == 1,
                -min(one.records, self._calls),
                one.pattern is None and bool(_PAIRS_IN.search(one.name)),
                kinds.index(one.kind),
                one.values,
                len(one.name),
                one.name,
            ),
        )

    def _look(self, kind: str, name: str, text: str) -> None:
        if NEVER.search(name):
            return
        for key, value in _PAIR.findall(text[:_LONGEST]):
            if NAMES.search(key) and not NEVER.search(key):
                self._count((kind, name, f"(?:^|[,; ]){re.escape(key)}=([^,; ]+)"), value)
        if _CERTAIN.search(name) or (NAMES.search(name) and number_of(text) is None):
            self._count((kind, name, None), text)

    def _count(self, place: tuple[str, str, str | None], text: str) -> None:
        counts = self._seen.get(place)
        if counts is None:
            if len(self._seen) >= _MOST_FIELDS:
                return
            counts = self._seen[place] = Counter()
        text = text[:_LONGEST]
        if text in counts or len(counts) < _MOST_VALUES:
            counts[text] += 1


def _candidate(candidate: Candidate, counts: Counter[str]) -> Candidate | None:
    """Return what groups the calls: the texts themselves, or what stands in each before a mark."""
    if _groups(counts):
        return candidate
    grouped = Counter[str]()
    for text, count in counts.items():
        match = None if candidate.pattern else _PREFIX.match(text)
        if match is None:
            return None
        grouped[match.group(1)] += count
    return candidate._replace(values=len(grouped), pattern="^([^:/|#]+)") if _groups(grouped) else None


def _groups(counts: Counter[str]) -> bool:
    return len(counts) < _MOST_VALUES and len(counts) <= max(1, _MOST_SHARE * counts.total())


def _leaves(document: Any) -> Iterator[tuple[str, Any]]:
    """Give what is no object in a document, with its JMESPath."""
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    looked = 0
    while waiting and looked < _MOST_KEYS:
        path, value, depth = waiting.pop()
        if not isinstance(value, Mapping) or depth >= _DEPTH:
            continue
        for key, below in value.items():
            looked += 1
            if not nameable(str(key)):
                continue
            name = path_name(path, str(key))
            if isinstance(below, Mapping):
                waiting.append((name, below, depth + 1))
            else:
                yield name, below


def nameable(key: str) -> bool:
    """Tell whether a configuration can name a key: it is not too long, and no half of a character."""
    return len(key) <= _LONGEST_NAME and not any("\ud800" <= character <= "\udfff" for character in key)


def path_name(path: str, key: str) -> str:
    r"""Return the JMESPath of a key below a path; a name with odd characters is quoted.

    >>> path_name("", "user"), path_name("who", "client id")
    ('user', 'who."client id"')
    """
    name = key
    if not _PLAIN.fullmatch(key):
        name = harmless_json(json.dumps(key, ensure_ascii=False))
    return f"{path}.{name}" if path else name


def place_of(call: Call, client: str) -> str:
    """Return where a call holds the name of its client, in the words of a rule; empty where that is not seen."""
    for name, text in call.headers.items():
        if text == client:
            return f"header {name}"
    return next((f"path {name}" for name, value in _leaves(call.document) if text_of(value) == client), "")
