"""Who is credited for queries near to what was made, and how often."""

from detector.engine.links.groups import RETURNS, Groups
from detector.engine.links.joined import Account, Event
from detector.engine.links.seeking.search import KINDS, NEIGHBOUR, NOTHING, STEP
from detector.engine.links.settings import LinkSettings


class Asking:
    """Accounts that ask one after the other."""

    def __init__(self) -> None:
        self.groups = Groups(LinkSettings())
        self.uid = 0
        self.asker: dict[int, int] = {}

    def ask(self, number: int, kind: int = NOTHING, *, made: tuple[int, int] | None = None, chain: int = 0) -> Account:
        """Ask a query: made from one with this number of this account, or near to the query `chain`."""
        self.uid += 1
        self.asker[self.uid] = number
        account = self.groups.asks(number)
        if account is None:
            account = Account(number, f"account-{number}", None, trusted=True)
            self.groups.admit(account)
        ends = [] if made is None else [(made[0], made[1], made[0])]
        near = (chain, self.asker[chain]) if chain else (0, 0)
        if kind != NOTHING or chain:
            self.groups.take(Event(self.uid, account, kind, chain or self.uid, ends, near, self.uid, self.uid, f"e{self.uid}"))
        return account


def credits_of(account: Account) -> int:
    return account.counts[NEIGHBOUR] if account.counts else 0


def test_who_goes_on_near_what_was_made_is_credited_each_time_it_is_twice_as_much() -> None:
    asking = Asking()
    asking.ask(1)
    asking.ask(2, STEP, made=(1, 1))
    made = asking.uid
    found = []
    for _ in range(4 * RETURNS):
        prober = asking.ask(3, chain=made)
        found.append(credits_of(prober))
    assert found[0] == found[RETURNS - 2] == 1, "once by accident is once"
    assert found[RETURNS - 1] == 2
    assert found[-1] == 4
    group = asking.groups.groups[prober.group]
    assert group.counts[NEIGHBOUR] >= 4


def test_a_chain_of_natural_queries_credits_once_however_many_there_are() -> None:
    asking = Asking()
    asking.ask(1)
    seed = asking.uid
    for _ in range(3):
        asking.ask(3, chain=seed)
    asking.ask(2, STEP, made=(seed, 1), chain=seed)
    for _ in range(12):
        near = asking.ask(3, chain=seed)
    assert credits_of(near) == 1


def test_an_account_far_from_what_was_made_has_nothing_against_it() -> None:
    asking = Asking()
    asking.ask(1)
    asking.ask(2, STEP, made=(1, 1))
    assert not asking.ask(3).counts
    assert len(asking.ask(2).counts) == KINDS
