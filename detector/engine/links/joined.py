"""Joined: accounts, the groups that they are joined to, chains of near queries, and the events that join them."""

from dataclasses import dataclass, field

from detector.engine.links.seeking.search import KINDS


@dataclass(slots=True)
class Account:
    """An account that asks: `queries` counts the new ones, `counts` (KINDS,) its events, empty while there is none.

    `group` is the number of its group, 0 without one. `named_ms` is when it was named, 0 before. `held_back` is the latest
    episode in which its stop was held back (see `guard`).
    """

    number: int
    key: str
    organization: str | None
    trusted: bool | None
    queries: int = 0
    first_ms: int = 0
    day: int = -1
    group: int = 0
    named_ms: int = 0
    held_back: int = 0
    counts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """Joined accounts, by number in the order of joining; the first event's number is the group's.

    `strong` are the accounts, or their organisations, with strong events. `score` is its evidence at the latest event and
    `highest` the highest so far. `weighed` are the accounts whose evidence changed since accounts were last named. What
    follows is for the linker: the level that it has reached; its evidence above the low bar in thousandths, the `kind` of most
    of its events, the sum `sizes` of the logarithms of how far its `offsets` move values, and what all groups with such events
    have together, of which there are so many `beside` it; and what was published of it, stops first and throttles second: the
    actions `held` until `held_until_ms`, and whether they are `simulated`.
    `inherited` were stopped by decisions of groups that were merged into it: the guard has had room for them.
    """

    number: int
    sequence: int
    first_ms: int
    last_ms: int
    founder: str
    accounts: dict[int, None] = field(default_factory=dict)
    queries: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * KINDS)
    strong: dict[str, None] = field(default_factory=dict)
    score: float = 0.0
    highest: float = 0.0
    named: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    weighed: dict[int, None] = field(default_factory=dict)
    level: int = 0
    excess: int = 0
    kind: int = 0
    offsets: int = 0
    sizes: float = 0.0
    pooled: int = 0
    beside: int = 0
    alerted: int = 0
    stopped: list[int] = field(default_factory=list)
    inherited: list[int] = field(default_factory=list)
    throttled: list[int] = field(default_factory=list)
    revisions: list[int] = field(default_factory=lambda: [0, 0])
    held: list[int] = field(default_factory=lambda: [0, 0])
    simulated: list[bool] = field(default_factory=lambda: [False, False])
    held_until_ms: list[int] = field(default_factory=lambda: [0, 0])
    published: int = 0
    published_ms: int = 0
    held_back: int = 0

    @property
    def size(self) -> float:
        """The mean logarithm of the sizes of its offsets, 0 without any."""
        return self.sizes / self.offsets if self.offsets else 0.0


@dataclass(slots=True)
class Chain:
    """Near queries: how many, how many strong events among them, and one query of each account in it.

    `credited` are the accounts that were credited for it, with their queries since, the credited one included. `made` tells
    that it began with a record that was made.
    """

    queries: int = 1
    strong: int = 0
    accounts: dict[int, int] = field(default_factory=dict)
    credited: dict[int, int] = field(default_factory=dict)
    made: bool = False


class Event:
    """One new query as the groups take it; `made` are (number, account, chain) of the queries that it was made from."""

    __slots__ = ("account", "chain", "event_id", "kind", "made", "near", "sequence", "size", "time_ms", "uid")

    def __init__(
        self,
        uid: int,
        account: Account,
        kind: int,
        chain: int,
        made: list[tuple[int, int, int]],
        near: tuple[int, int],
        sequence: int,
        time_ms: int,
        event_id: str,
        size: float = 0.0,
    ) -> None:
        self.uid = uid
        self.account = account
        self.kind = kind
        self.chain = chain
        self.made = made
        self.near = near
        self.sequence = sequence
        self.time_ms = time_ms
        self.event_id = event_id
        self.size = size
