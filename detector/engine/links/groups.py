"""Groups: accounts that are joined by events, and what each has against it.

A strong event joins the account that asked with those whose queries it was made from, and with others that made something of
the same queries. What several accounts have asked is nobody's: a thief may take it from where others have it. A chain of near
queries becomes constructed once enough of it are strong events; then each account in it is credited once, also for what it
asked before. So an account is found by one query that lies in the middle of a campaign, however innocent it looks by itself.

Bounded: accounts without a group leave when too many have asked since, groups when nothing was found for long.
"""

import math

from detector.engine.links.evidence import OF_RECORDS, STRONG, Worth
from detector.engine.links.joined import Account, Chain, Event, Group
from detector.engine.links.seeking.search import KINDS, NEIGHBOUR, NOTHING
from detector.engine.links.settings import LinkSettings

LEAST_ACCOUNTS = 3  # accounts with strong events, an organisation counted once, that make a campaign
NAMED_FROM = 4.0  # evidence from which an account of a campaign is named: one credit in two queries
DENSITY = 0.05  # least share of strong events in a chain that is constructed
MOST_CHAINS = 4096
MOST_IN_CHAIN = 256  # accounts
MOST_CREDITED = 16_384
MOST_MADE = 8192  # bisections whose ends are known
RETURNS = 4  # queries of an account in one chain for which it is credited again
WALKED = 40  # queries of a chain of bisections that are credited
EXAMPLES = 8
AS_LARGE = 0.1  # difference of the logarithms of two sizes of offsets that are alike
STRONG_ORDER = tuple(sorted(STRONG))


class Groups:
    """The accounts of one model, and their groups."""

    def __init__(self, settings: LinkSettings, worth: Worth | None = None) -> None:
        self._settings = settings
        self.worth = worth or Worth()
        self.accounts: dict[int, Account] = {}  # without a group, the one that asked last at the end
        self.grouped: dict[int, Account] = {}
        self.groups: dict[int, Group] = {}  # by number, the one with the latest event at the end
        self.pooled: dict[int, None] = {}  # groups with evidence above the low bar, and some that are gone
        self.chains: dict[int, Chain] = {}  # the one touched last at the end
        self.credited: dict[int, None] = {}  # queries that were counted
        self.made: dict[int, list[tuple[int, int, int]]] = {}  # the ends of bisections
        self.makers: dict[int, int] = {}  # by query, the account that made something from it

    def find(self, number: int) -> Account | None:
        """Return an account, None where it was forgotten."""
        return self.grouped.get(number) or self.accounts.get(number)

    def score_of(self, account: Account) -> float:
        """Return the evidence against an account."""
        return self.worth.mixture(account.queries, account.counts) if account.counts else 0.0

    def asks(self, number: int) -> Account | None:
        """Return the account that asks now, counted; None for one that is not known."""
        account = self.grouped.get(number)
        if account is not None:
            self.groups[account.group].queries += 1
        else:
            account = self.accounts.pop(number, None)
            if account is None:
                return None
            self.accounts[number] = account
        account.queries += 1
        return account

    def admit(self, account: Account) -> None:
        """Take in a new account; the one that has been silent longest leaves where there are too many."""
        account.queries = 1
        self.accounts[account.number] = account
        if len(self.accounts) > self._settings.accounts:
            del self.accounts[next(iter(self.accounts))]

    def take(self, event: Event) -> Group | None:
        """Take in a query that is an event or lies in a chain; return the group whose evidence changed, if any.

        Accounts of the group whose own evidence changed are named where it is large enough for that.
        """
        account = event.account
        chain = self._enter(event)
        touched: dict[int, None] = {}
        strong = event.kind in STRONG
        chains: list[int] = [event.chain] if chain is not None and chain.strong > 0 else []
        if chain is not None and event.kind == NOTHING and account.group and self._returns(chain, account):
            self._credit(account, NEIGHBOUR, event.uid)
            self.groups[account.group].counts[NEIGHBOUR] += 1
            touched[account.number] = None
        if event.kind != NOTHING:
            if strong:
                self._group_of(account, event)
            self._credit(account, event.kind, event.uid)
            if account.group:
                self.groups[account.group].counts[event.kind] += 1
            touched[account.number] = None
            self._remember(event)
            chains = []
            if strong:
                own = self._chain(event.chain, event.uid, account.number)
                own.strong += 1
                own.made = own.made or (event.chain == event.uid and event.kind in OF_RECORDS)
                self._join_made(event, touched)
                chains = list(dict.fromkeys([event.chain, *(end[2] for end in event.made)]))
        for number in chains:
            self._credit_chain(number, event, touched)
        if not touched or not account.group:
            return None
        group = self.groups.pop(account.group)
        self.groups[group.number] = group
        group.last_ms = max(group.last_ms, event.time_ms)
        group.kind = max(STRONG_ORDER, key=lambda kind: group.counts[kind])
        if strong:
            group.strong[account.organization or account.key] = None
            group.examples = [*group.examples, event.event_id][-EXAMPLES:]
            if event.size > 0.0:
                group.offsets += 1
                group.sizes += math.log(event.size)
        group.weighed |= touched
        group.score = self.worth.group_score(group.queries, group.counts)
        group.highest = max(group.highest, group.score)
        return group

    def name(self, group: Group, time_ms: int) -> None:
        """Name the accounts of a group that have enough against them."""
        for number in group.weighed:
            account = self.grouped[number]
            if not account.named_ms and self.score_of(account) >= NAMED_FROM:
                account.named_ms = max(time_ms, 1)
                group.named.append(number)
        group.weighed.clear()

    def pool(self, group: Group, low: float, high: float) -> None:
        """Add up the evidence above the low bar of all groups with events like this one's; note it with the group.

        Whoever deals a theft so that each seed keeps to a few accounts leaves many small groups. One innocent group is rare,
        and several of one kind at a time are rarer. Offsets have to be as large, so that a theft does not draw in whoever moves
        values by another size.
        """
        group.excess = max(int(1000.0 * (group.score - low)), 0)
        if group.excess:
            self.pooled[group.number] = None
        if group.highest > high or group.stopped or not group.excess:
            return  # it has enough by itself, or nothing to add up
        size = group.size
        total = count = 0
        for number in list(self.pooled):
            other = self.groups.get(number)
            if other is None or not other.excess:
                del self.pooled[number]
            elif other.kind == group.kind and abs(other.size - size) <= AS_LARGE:
                total += other.excess
                count += 1
        group.pooled, group.beside = total, max(count - 1, 0)

    def expire(self, time_ms: int) -> None:
        """Forget the groups without an event for long, and the oldest where they hold too many accounts."""
        while self.groups:
            oldest = next(iter(self.groups.values()))
            late = oldest.last_ms + self._settings.memory_ms < time_ms
            if not late and len(self.grouped) <= self._settings.accounts:
                break
            del self.groups[oldest.number]
            for number in oldest.accounts:
                del self.grouped[number]

    def _enter(self, event: Event) -> Chain | None:
        """Enter a query into its chain, which begins with the query that it is near to."""
        if not event.near[0]:
            return self.chains.get(event.chain)
        chain = self.chains.pop(event.chain, None)
        if chain is None:
            chain = Chain(accounts={event.near[1]: event.near[0]})
        self.chains[event.chain] = chain
        chain.queries += 1
        if len(chain.accounts) < MOST_IN_CHAIN:
            chain.accounts.setdefault(event.account.number, event.uid)
        if len(self.chains) > MOST_CHAINS:
            del self.chains[next(iter(self.chains))]
        return chain

    def _returns(self, chain: Chain, account: Account) -> bool:
        """Count a query of an account in a chain that it was credited for; tell whether it is credited again.

        Who asks a few queries near one that was made may have asked them by accident. Who goes on to do so is credited each
        time that they are twice as many, where the chain began with a record that was made, so that it is about nothing else.
        """
        count = chain.credited.get(account.number, 0)
        if not chain.made or not count:
            return False
        chain.credited[account.number] = count + 1
        return count + 1 >= RETURNS and (count + 1) & count == 0

    def _chain(self, number: int, uid: int, account: int) -> Chain:
        chain = self.chains.pop(number, None) or Chain()
        self.chains[number] = chain
        if len(chain.accounts) < MOST_IN_CHAIN:
            chain.accounts.setdefault(account, uid)
        if len(self.chains) > MOST_CHAINS:
            del self.chains[next(iter(self.chains))]
        return chain

    def _join_made(self, event: Event, touched: dict[int, None]) -> None:
        """Join the accounts whose queries a strong event was made from, back along the bisections before it."""
        walk = list(event.made)
        seen = {end[0] for end in walk}
        for uid, number, _ in walk:
            maker = self.makers.pop(uid, event.account.number)
            self.makers[uid] = maker
            self._join(event.account, maker, event)
            if self._join(event.account, number, event):
                touched[number] = None
                if uid not in self.credited:
                    self._credit(self.grouped[number], NEIGHBOUR, uid)
            for end in self.made.get(uid, ()):
                if end[0] not in seen and len(walk) < WALKED:
                    seen.add(end[0])
                    walk.append(end)
        while len(self.makers) > MOST_MADE:
            del self.makers[next(iter(self.makers))]
        for uid, number, chain in event.made:
            if chain != event.chain:
                self._chain(chain, uid, number).strong += 1

    def _remember(self, event: Event) -> None:
        """Remember the ends of a bisection."""
        if len(event.made) > 1:
            self.made[event.uid] = event.made
            if len(self.made) > MOST_MADE:
                del self.made[next(iter(self.made))]

    def _credit_chain(self, number: int, event: Event, touched: dict[int, None]) -> None:
        """Credit each account of a constructed chain once."""
        chain = self.chains.get(number)
        if chain is None or len(chain.credited) >= len(chain.accounts):
            return
        if not chain.strong or (not chain.made and chain.strong < DENSITY * chain.queries):
            return
        for member, uid in list(chain.accounts.items()):
            if member in chain.credited:
                continue
            chain.credited[member] = 1
            if uid in self.credited or not self._join(self._holder(chain, event), member, event):
                continue
            self._credit(self.grouped[member], NEIGHBOUR, uid)
            self.groups[self.grouped[member].group].counts[NEIGHBOUR] += 1
            touched[member] = None

    def _holder(self, chain: Chain, event: Event) -> Account:
        """Return an account of the group that made a chain constructed: the one that asks, or one of the chain's."""
        if event.account.group:
            return event.account
        for number in chain.accounts:
            if number in self.grouped:
                return self.grouped[number]
        return event.account

    def _credit(self, account: Account, kind: int, uid: int) -> None:
        if not account.counts:
            account.counts = [0] * KINDS
        account.counts[kind] += 1
        self.credited[uid] = None
        if len(self.credited) > MOST_CREDITED:
            del self.credited[next(iter(self.credited))]

    def _group_of(self, account: Account, event: Event) -> Group:
        """Return the group of an account, a new one where it has none."""
        if account.group:
            return self.groups[account.group]
        group = Group(event.uid, event.sequence, event.time_ms, event.time_ms, account.key)
        self.groups[group.number] = group
        self._move(account, group)
        return group

    def _move(self, account: Account, group: Group) -> None:
        """Take an account without a group into one, with what it has against it."""
        self.accounts.pop(account.number, None)
        self.grouped[account.number] = account
        account.group = group.number
        group.accounts[account.number] = None
        group.queries += account.queries
        if account.counts:
            group.counts = [a + b for a, b in zip(group.counts, account.counts, strict=True)]

    def _join(self, account: Account, number: int, event: Event) -> bool:
        """Join another account to that of `account`; False where it was forgotten."""
        other = self.find(number)
        if other is None:
            return False
        group = self._group_of(account, event)
        if not other.group:
            self._move(other, group)
        elif other.group != group.number:
            self._merge(group, self.groups[other.group])
        return True

    def _merge(self, one: Group, other: Group) -> None:
        """Merge two groups; the one that has gone farther keeps its number, else the older one."""
        kept, gone = sorted((one, other), key=lambda group: (-group.level, group.number))
        for number in gone.accounts:
            self.grouped[number].group = kept.number
        kept.accounts |= gone.accounts
        kept.queries += gone.queries
        kept.counts = [a + b for a, b in zip(kept.counts, gone.counts, strict=True)]
        kept.strong |= gone.strong
        kept.named += gone.named
        kept.offsets += gone.offsets
        kept.sizes += gone.sizes
        kept.weighed |= gone.weighed
        kept.examples = [*gone.examples, *kept.examples][-EXAMPLES:]
        kept.inherited += [*gone.stopped, *gone.inherited]
        if not kept.level:  # its name stands in alerts and decisions, and tells when it began
            kept.first_ms = min(kept.first_ms, gone.first_ms)
        kept.last_ms = max(kept.last_ms, gone.last_ms)
        kept.highest = max(kept.highest, gone.highest)
        del self.groups[gone.number]
