"""A world of short texts: what people write to a support desk, and the vectors that a service makes of it.

No text ships with the libraries, so sentences are put together from phrases: a plan says what is meant, a wording how it is
said, and the same plan may be worded in hundreds of ways. Words and pairs of words are hashed, weighted by how rare they are
and projected to 64 dimensions by a singular value decomposition (latent semantic analysis: Deerwester et al., JASIS 41(6),
1990), to vectors of length one. Such vectors are what an endpoint logs that classifies embeddings, and what a thief with the
encoder at hand may send without a text behind them. A stand-in: five topics and some hundred phrases are a small language,
and no figure from here is one about a large encoder.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from detector.redteam.conversation import Array, Conversation, Labels

DIMENSION = 64
TOPICS = ("billing", "delivery", "login", "fault", "contract")
_BUCKETS = 4096
_CORPUS = 4000  # sentences that the projection is fitted on, half of them from elsewhere

Phrases = tuple[tuple[str, ...], ...]

_WANTS: Phrases = (
    ("i would like to", "i want to", "may i", "is it possible to", "please let me"),
    ("i cannot", "i am unable to", "it is impossible to", "why can i not"),
    ("i tried to", "i have been trying to", "twice i attempted to", "all morning i tried to"),
    ("can you", "could you please", "would you", "i ask you to"),
)
_WHEN: Phrases = (
    ("today", "this morning", "right now"),
    ("last week", "some days ago", "a week ago"),
    ("for the second time", "again", "once more"),
    ("since the update", "after the last update"),
    ("before the end of the month", "this month"),
)
_ENDS: Phrases = (
    ("thank you", "thanks", "many thanks"),
    ("please answer soon", "i am waiting for your answer", "it is urgent"),
    ("this is annoying", "i am not happy about it"),
)
_DOES = MappingProxyType(
    {
        "billing": (
            ("pay", "settle"),
            ("understand", "make sense of"),
            ("get back", "be refunded"),
            ("check", "verify"),
            ("change", "correct"),
        ),
        "delivery": (
            ("receive", "get"),
            ("track", "follow"),
            ("return", "send back"),
            ("redirect", "change"),
            ("collect", "pick up"),
        ),
        "login": (
            ("reset", "renew"),
            ("open", "get into"),
            ("confirm", "verify"),
            ("remember", "find"),
            ("change", "replace"),
        ),
        "fault": (
            ("start", "switch on"),
            ("connect", "pair"),
            ("repair", "fix"),
            ("update", "upgrade"),
            ("use", "operate"),
        ),
        "contract": (
            ("cancel", "end"),
            ("extend", "prolong"),
            ("upgrade", "extend"),
            ("understand", "read"),
            ("change", "move"),
        ),
    }
)
_THINGS = MappingProxyType(
    {
        "billing": (
            ("the invoice", "the bill"),
            ("a double charge", "the same charge twice"),
            ("the direct debit", "the payment"),
            ("the discount", "the voucher"),
            ("the account balance", "what i owe"),
        ),
        "delivery": (
            ("my parcel", "the package"),
            ("the order", "what i ordered"),
            ("the delivery date", "the day of delivery"),
            ("the broken item", "the damaged goods"),
            ("the shipment", "the consignment"),
        ),
        "login": (
            ("my password", "the pass phrase"),
            ("the account", "my profile"),
            ("the security code", "the code you texted"),
            ("my user name", "the login name"),
            ("the mail address", "my email"),
        ),
        "fault": (
            ("the router", "the modem"),
            ("the device", "the machine"),
            ("the app", "the program"),
            ("the screen", "the display"),
            ("the remote control", "the controller"),
        ),
        "contract": (
            ("the contract", "the agreement"),
            ("my subscription", "the plan"),
            ("the tariff", "the rate"),
            ("the notice period", "the terms"),
            ("the insurance", "the warranty"),
        ),
    }
)
_ELSEWHERE: Phrases = (
    ("the old king", "a grey wolf", "our captain", "the young painter", "the mountain", "an empty street", "the orchestra"),
    ("walked along", "looked over", "played with", "forgot about", "rose above", "slept under", "sang of"),
    ("the river", "a frozen lake", "the second movement", "distant islands", "the harvest", "an oak tree", "the last train"),
    ("in winter", "without a word", "at dawn", "for many years", "until the rain came", "under a red moon", "as in a dream"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sentence means: numbers of the phrases, -1 for what is left out. `second` is the topic of its thing."""

    topic: int
    second: int
    want: int
    does: int
    thing: int
    when: int
    end: int


def plan(topic: int, rng: np.random.Generator) -> Plan:
    """Draw what a sentence on a topic means; one in eight is about a thing of another topic, which makes it doubtful."""
    return Plan(
        topic,
        int(rng.integers(len(TOPICS))) if rng.random() < 0.125 else topic,
        int(rng.integers(len(_WANTS))),
        int(rng.integers(5)),
        int(rng.integers(5)),
        int(rng.integers(-2, len(_WHEN))),
        int(rng.integers(-2, len(_ENDS))),
    )


def worded(meant: Plan, rng: np.random.Generator) -> str:
    """Say it in one of the ways in which it can be said.

    >>> rng = np.random.default_rng(1)
    >>> meant = Plan(topic=1, second=1, want=0, does=0, thing=0, when=-1, end=-1)
    >>> len({worded(meant, rng) for _ in range(200)})
    20
    """
    groups = [_WANTS[meant.want], _DOES[TOPICS[meant.topic]][meant.does], _THINGS[TOPICS[meant.second]][meant.thing]]
    groups += [_WHEN[meant.when]] if meant.when >= 0 else []
    groups += [_ENDS[meant.end]] if meant.end >= 0 else []
    return " ".join(group[int(rng.integers(len(group)))] for group in groups)


def sentences(count: int, rng: np.random.Generator) -> tuple[list[str], Labels]:
    """Draw different sentences and their topics, (count,)."""
    found: dict[str, int] = {}
    while len(found) < count:
        topic = int(rng.integers(len(TOPICS)))
        found.setdefault(worded(plan(topic, rng), rng), topic)
    return list(found), np.array(list(found.values()), np.int64)


def foreign_sentence(rng: np.random.Generator) -> str:
    """A sentence that no support desk receives."""
    return " ".join(group[int(rng.integers(len(group)))] for group in _ELSEWHERE)


def embedded(text: str) -> Array:
    """The vector of a text, (64,), of length one; words that were never seen leave no trace.

    >>> near = embedded("i want to pay the bill") @ embedded("may i settle the invoice")
    >>> far = embedded("i want to pay the bill") @ embedded("a grey wolf slept under an oak tree")
    >>> bool(near > far)
    True
    """
    vector = _projection()[_marks(text)].sum(axis=0)
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length) if length > 0.0 else np.eye(DIMENSION)[0]


def embedded_all(texts: Sequence[str]) -> Array:
    """The vectors of texts, (n, 64)."""
    return np.stack([embedded(text) for text in texts])


def scaled(vector: Array) -> Array:
    """A vector at length one; zeros stay."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def parts_of(vector: Array, count: int, rng: np.random.Generator) -> Array:
    """Vectors (count, dimension) whose sum is `vector`, as the words of a text have them: each about as long as the whole.

    For encoders that cannot be asked. The sum of the first parts comes nearer to the whole with each.
    """
    words = rng.standard_normal((count, vector.size)) / np.sqrt(vector.size)
    return np.asarray(words + (vector - words.sum(axis=0)) / count)


def on_sphere(conversation: Conversation) -> Conversation:
    """The same client where only vectors of length one are taken: each is scaled before it is sent."""
    try:
        query = next(conversation)
        while True:
            length = float(np.linalg.norm(query.vector))
            scaled = query.vector if abs(length - 1.0) < 1e-9 or length == 0.0 else query.vector / length
            query = conversation.send((yield replace(query, vector=scaled)))
    except StopIteration:
        return
    finally:
        conversation.close()


def _marks(text: str) -> list[int]:
    words = text.split()
    tokens = [*words, *(f"{a} {b}" for a, b in pairwise(words))]
    return [zlib.crc32(token.encode()) % _BUCKETS for token in tokens]


@cache
def _projection() -> Array:
    """What a word or a pair of words adds, (buckets, 64)."""
    rng = np.random.default_rng(20_000)
    texts = sentences(_CORPUS // 2, rng)[0] + [foreign_sentence(rng) for _ in range(_CORPUS // 2)]
    marks = [_marks(text) for text in texts]
    rows, places = np.repeat(np.arange(len(texts)), [len(one) for one in marks]), np.concatenate(marks)
    holding = np.bincount([mark for one in marks for mark in set(one)], minlength=_BUCKETS)
    rarity = np.log((1.0 + len(texts)) / (1.0 + holding)) + 1.0
    weighted = sparse.csr_matrix((rarity[places], (rows, places)), shape=(len(texts), _BUCKETS))
    solved = TruncatedSVD(DIMENSION, random_state=0).fit(weighted)
    return np.asarray(rarity[:, None] * solved.components_.T)
