"""What a kind of evidence says of itself: its name, the words for it, and what one query is worth.

A channel of evidence has one file in this folder, which holds its constant `CHANNEL` beside its kernels, and one entry in
`registry`. Tables, policy, alerts, explanations and reports read it there, and nowhere else is there a list of channels. All
values are plain Python: no array, and nothing compiled.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Counted(NamedTuple):
    """What a query is worth that either looks constructed or does not: the shares of queries that do.

    `attack` is the share among the queries of such an attack, `innocent` that among the queries of innocent clients. Queries
    that the channel has nothing to compare with are left out of both.
    """

    attack: float
    innocent: float

    @property
    def constructed(self) -> float:
        """The likelihood ratio of a query that looks constructed."""
        return self.attack / self.innocent

    @property
    def ordinary(self) -> float:
        """The likelihood ratio of a query that does not."""
        return (1.0 - self.attack) / (1.0 - self.innocent)


class Weighed(NamedTuple):
    """What a query is worth whose likelihood ratio is computed: the logarithms of its limits, `least` and `most`.

    `carriers` is what a report calls queries that are worth the most, such as "foreign queries".
    """

    most: float
    least: float
    carriers: str

    @property
    def constructed(self) -> float:
        """The largest likelihood ratio of a query."""
        return math.exp(self.most)

    @property
    def ordinary(self) -> float:
        """The smallest one."""
        return math.exp(self.least)

    @property
    def innocent(self) -> float:
        """The share of queries worth the most, among others worth the least, that evidence does not grow from on average."""
        return (1.0 - self.ordinary) / (self.constructed - self.ordinary)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceType:
    """One type of evidence, as people are told of it.

    `kind` says how far it may go: construction may stop a client, novelty may alert and throttle. `title` and `description` are
    those of the rule in an alert. Reasons and explanations begin with `meaning`, what the queries are. Explanations end with
    `lookalike`, which innocent traffic comes close; it stands behind a colon.
    """

    name: str
    kind: Literal["construction", "novelty"]
    title: str
    description: str
    meaning: str
    lookalike: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(EvidenceType):
    """A type of evidence that single queries carry.

    `floor` is the least evidence that may stop a client, or throttle it where the kind is novelty: a logarithm of nominal odds.
    The threshold in force is never lower; calibration may raise it. `ratio` says what one query is worth. `innocent` says
    which innocent traffic triggers the channel as well, and what keeps other such traffic out; `blind_to` what it cannot see.
    """

    floor: float
    ratio: Counted | Weighed
    innocent: str
    blind_to: str

    @property
    def may_stop(self) -> bool:
        """Whether its evidence may have a client's queries perturbed or blocked."""
        return self.kind == "construction"
