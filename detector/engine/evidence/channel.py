"""The description of a kind of evidence: its name, the words for it, and what one query is worth.

A channel of evidence has one file in this folder, which holds its constant `CHANNEL` beside its kernels, and one entry in
`registry`. Tables, policy, alerts, explanations and reports read the registry; there is no other list of channels. All values
are plain Python: no arrays, and nothing compiled.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Counted(NamedTuple):
    """What a query is worth where the test has two results: it looks constructed, or it does not.

    `attack` is the share of queries that look constructed in such an attack, and `innocent` the share among the queries of
    innocent clients. Queries that the channel has nothing to compare with are left out of both.
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
    """What a query is worth where its likelihood ratio is computed: `least` and `most` are the logarithms of its limits.

    `carriers` is what a report calls the queries with the largest ratio, such as "foreign queries".
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
        """The share of queries with the largest ratio, the others having the smallest, up to which evidence does not grow."""
        return (1.0 - self.ordinary) / (self.constructed - self.ordinary)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceType:
    """One type of evidence, with the words for it.

    `kind` says how far it may go: construction may stop a client, novelty may alert and throttle, and harm does what the
    operator's budget says. `title` and `description` are
    those of the rule in an alert. Reasons and explanations begin with `meaning`, which says what the queries are. Explanations
    end with `lookalike`, which names the innocent traffic that comes close; it follows a colon.
    """

    name: str
    kind: Literal["construction", "novelty", "harm"]
    title: str
    description: str
    meaning: str
    lookalike: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(EvidenceType):
    """A type of evidence that single queries carry.

    `floor` is the least evidence, a logarithm of nominal odds, that may stop a client, or throttle it where the kind is
    novelty. Calibration may raise the threshold in force above the floor but never lowers it. `opening_floor`, where a channel
    has one, takes the place of `floor` in a client's first queries (see `policy`). `ratio` says what one query is worth. Where
    `company` names channels of construction, this channel's full evidence lets them stop a client on a share of theirs (see
    `policy`). `innocent` says which innocent traffic also triggers the channel, and what keeps other innocent traffic out.
    `blind_to` says what the channel cannot see.
    """

    floor: float
    ratio: Counted | Weighed
    company: tuple[str, ...] = ()
    opening_floor: float | None = None
    innocent: str
    blind_to: str

    @property
    def may_stop(self) -> bool:
        """Whether its evidence may lead to perturbing or blocking a client."""
        return self.kind == "construction"
