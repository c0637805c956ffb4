"""Learning from a log what inputs and answers consist of: names, kinds, categories, as most clients have them.

One client must not decide, however many queries it sends. A column belongs to the inputs where at least half of the clients
send it, and has the kind that most of them send. A category is known where two clients or more send it, since what only one
client sends could be its own invention; in a log of one client all count. Samples of texts and of predicted numbers hold a few
of each client.

What is kept is bounded: the first `MOST_CLIENTS` pairs of client and model, `MOST_COLUMNS` names a model,
`MOST_OF_CLIENT` new texts of a client in a column, and samples of a few thousand texts a column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from detector.config.detection import Kind
from detector.ingest.samples import AnswerSample, TextSample
from detector.ingest.schema import WHOLE, InputSchema
from detector.ingest.values import hours_of, is_missing, number_of, text_of

__all__ = ["MOST_CATEGORIES", "SchemaLearner"]

MOST_CATEGORIES: Final = 1000
"""Known categories a column; a column with more of them is a text or an id, see `SchemaLearner`."""

MOST_CLIENTS: Final = 20_000
MOST_COLUMNS: Final = 1000
MOST_OF_CLIENT: Final = 100
_COUNTED: Final = 32  # clients that are told apart for a text: more of them do not make it better known
_CANDIDATES: Final = 4 * MOST_CATEGORIES
_LONGEST: Final = 256  # characters of a category
_WORDS: Final = 3  # of a text that is no category by its looks


@dataclass(slots=True)
class _Column:
    """What the clients send in a column: of each client how often which kind, and of each text its clients.

    `coded` columns are declared to be categories: numbers in them are codes as texts are.
    """

    coded: bool = False
    sent: dict[int, dict[Kind, int]] = field(default_factory=dict)
    introduced: dict[int, int] = field(default_factory=dict)
    clients: dict[str, set[int]] = field(default_factory=dict)
    texts: TextSample = field(default_factory=TextSample)

    def note(self, client: int, value: Any) -> None:
        kind = _kind_of(value)
        tally = self.sent.setdefault(client, {})
        if kind is None:
            return
        tally[kind] = tally.get(kind, 0) + 1
        if kind in {"category", "text"} or self.coded:
            self._count(client, text_of(value))
            if kind != "number":
                self.texts.note(client, text_of(value))

    def _count(self, client: int, text: str) -> None:
        if len(text) > _LONGEST:
            return
        known = self.clients.get(text)
        if known is None:
            count = self.introduced.get(client, 0)
            if count >= MOST_OF_CLIENT or len(self.clients) >= _CANDIDATES:
                return
            self.introduced[client] = count + 1
            known = self.clients[text] = set()
        if len(known) < _COUNTED:
            known.add(client)

    def categories(self) -> list[str]:
        """Return the texts that several clients send, those of most clients first."""
        least = min(2, len(self.sent))
        known = [text for text, clients in self.clients.items() if len(clients) >= least]
        return sorted(known, key=lambda text: (-len(self.clients[text]), text))

    def kind(self) -> Kind:
        """Return the kind that most clients send: of texts that few clients share, words are text and the rest is ignored."""
        votes: dict[Kind, int] = {}
        for tally in self.sent.values():
            if tally:
                best = max(sorted(tally), key=lambda kind: tally[kind])
                votes[best] = votes.get(best, 0) + 1
        if not votes:
            return "number"
        # Text beside single words votes for text in general; which of the two it is follows.
        words, single = votes.pop("text", 0), votes.pop("category", 0)
        best = max(sorted(votes), key=lambda kind: votes[kind], default="number")
        if words + single <= votes.get(best, 0):
            return best
        shared = self.categories()
        users = set().union(*(self.clients[text] for text in shared)) if shared else set()
        most = min(len(self.sent), _COUNTED)
        if len(shared) <= MOST_CATEGORIES and len(self.clients) < _CANDIDATES and 2 * len(users) >= most:
            return "category"
        return "text" if words >= single else "ignore"


@dataclass(slots=True)
class _Model:
    columns: dict[str, _Column] = field(default_factory=dict)
    clients: set[int] = field(default_factory=set)
    whole: TextSample = field(default_factory=TextSample)
    answers: AnswerSample = field(default_factory=AnswerSample)


class SchemaLearner:
    """Watches the inputs of a log that are given by name, or hold texts, and answers that are numbers; learns the schemas.

    `declared` are the schemas that are configured: of those only the codes of categories are learned. `encoder`, where there
    is one, makes `embedded` numbers of a text; both are kept with the schemas. A column with more than `MOST_CATEGORIES` texts
    that several clients send, or whose texts few clients share, is a text where most of its values have several words, and is
    ignored otherwise: it is an id.

    >>> learner = SchemaLearner()
    >>> for client in ("a", "b", "c"):
    ...     learner.note("fraud", client, {"amount": 1.5, "country": "FR"})
    >>> schema = learner.schemas()["fraud"]
    >>> schema.names, schema.kinds, schema.codes
    (('amount', 'country'), ('number', 'category'), {'country': {'FR': 1}})
    """

    def __init__(
        self, declared: Mapping[str, InputSchema] | None = None, encoder: str | None = None, embedded: int = 0
    ) -> None:
        """Start without having seen anything."""
        self._declared = dict(declared or {})
        self._encoder = encoder
        self._embedded = embedded
        self._models: dict[str, _Model] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def note(self, model: str, client: str, values: Mapping[str, Any]) -> None:
        """Take note of an input of a client."""
        number = self._number(model, client)
        if number is None:
            return
        known = self._models[model]
        known.clients.add(number)
        for name, value in values.items():
            column = known.columns.get(name)
            if column is None:
                if len(known.columns) >= MOST_COLUMNS:
                    continue
                column = known.columns[name] = _Column(self._coded(model, name))
            column.note(number, value)

    def note_text(self, model: str, client: str, text: str) -> None:
        """Take note of an input that is nothing but a text."""
        number = self._number(model, client)
        if number is not None:
            self._models[model].whole.note(number, text)

    def note_answer(self, model: str, client: str, value: float) -> None:
        """Take note of an answer that is a number."""
        number = self._number(model, client)
        if number is not None:
            self._models[model].answers.note(number, value)

    def _number(self, model: str, client: str) -> int | None:
        """Return the number of a client of a model, None for one too many."""
        key = (model, client)
        number = self._numbers.get(key)
        if number is None:
            if len(self._numbers) >= MOST_CLIENTS:
                return None
            number = self._numbers[key] = len(self._numbers)
            self._models.setdefault(model, _Model())
        return number

    def _coded(self, model: str, name: str) -> bool:
        declared = self._declared.get(model)
        return declared is not None and (name, "category") in zip(declared.names, declared.kinds, strict=True)

    def schemas(self) -> dict[str, InputSchema]:
        """Return the schema of each model of which anything was noted, and those that are declared."""
        return {**self._declared, **{model: self._schema(model, seen) for model, seen in self._models.items()}}

    def texts(self) -> dict[str, dict[str, list[str]]]:
        """Return a sample of the texts in each column of texts, by model and column; `WHOLE` for inputs that are one text."""
        found: dict[str, dict[str, list[str]]] = {}
        if self._encoder is not None:
            return found
        for model, schema in self.schemas().items():
            seen = self._models.get(model, _Model())
            samples = {
                name: seen.columns[name].texts.kept
                for name, kind in zip(schema.names, schema.kinds, strict=True)
                if kind == "text" and name in seen.columns
            }
            found[model] = samples | ({WHOLE: seen.whole.kept} if seen.whole.kept else {})
        return found

    def _schema(self, model: str, seen: _Model) -> InputSchema:
        declared = self._declared.get(model)
        if declared is None:
            names = tuple(name for name, column in seen.columns.items() if 2 * len(column.sent) >= len(seen.clients))
            kinds = tuple(seen.columns[name].kind() for name in names)
        else:
            names, kinds = declared.names, declared.kinds
        codes = {
            name: {text: code for code, text in enumerate(_categories(seen, name), 1)}
            for name, kind in zip(names, kinds, strict=True)
            if kind == "category"
        }
        worded = bool(seen.whole.kept) or "text" in kinds
        return InputSchema(
            names,
            kinds,
            codes,
            edges=seen.answers.edges(),
            encoder=self._encoder if worded else None,
            embedded=self._embedded if worded else 0,
        )


def _categories(seen: _Model, name: str) -> list[str]:
    column = seen.columns.get(name)
    return [] if column is None else column.categories()[:MOST_CATEGORIES]


def _kind_of(value: Any) -> Kind | None:
    """Return the kind that a value is of its own, None for a missing one; a text of several words counts as text."""
    if is_missing(value) or not isinstance(value, str | bool | int | float):
        return None
    if not isinstance(value, str) or number_of(value) is not None:
        return "number"
    if value[:4].isdecimal() and hours_of(value) is not None:
        return "time"
    return "text" if len(value.split()) >= _WORDS else "category"
