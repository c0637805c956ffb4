"""The thief who listens: a refusal is an answer, too, and he adapts until he is let through.

After the OARS attacks (Feng et al., CCS 2023), which tune themselves on a detector's refusals.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, Predict, ValueRange

Tactic = Literal["change_account", "back_off", "perturb"]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A query, the account that sends it, and how many seconds later than planned."""

    query: AskedQuery
    account: int
    wait: float


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """An attempt that was made, its moment in seconds from the first, and the answer; None if it was refused."""

    attempt: Attempt
    moment: float
    answer: Answer | None


Adaptive: TypeAlias = Generator[Attempt, Answer | None, None]
Refuses: TypeAlias = Callable[[int, AskedQuery, float], bool]


def adapting(
    thief: Conversation,
    tactic: Tactic,
    rng: np.random.Generator,
    value_range: ValueRange,
    *,
    accounts: int = 20,
    patience: int = 8,
) -> Adaptive:
    """Play a thief who is told when he is refused (`None` is sent), and asks again.

    - ``change_account``: from the next of `accounts`; ends when none is left
    - ``back_off``: later, waiting a minute and twice as long each time; every answer halves the wait again
    - ``perturb``: something else: as far as 0.3 to 1.3 of the way from his last accepted query, with 2% of noise

    After `patience` refusals of one query he gives up, and the conversation ends: a thief who is stopped for good has
    nothing to adapt to.
    """
    lo, hi = value_range
    account, wait = 0, 0.0
    accepted: Array | None = None
    try:
        query = next(thief, None)
        while query is not None:
            tried = query
            refused = 0
            while (answer := (yield Attempt(tried, account, wait))) is None:
                refused += 1
                if refused >= patience:
                    return
                if tactic == "change_account":
                    account += 1
                    if account >= accounts:
                        return
                elif tactic == "back_off":
                    wait = max(2.0 * wait, 60.0)
                else:
                    known = query.vector if accepted is None else accepted
                    vector = known + rng.uniform(0.3, 1.3) * (query.vector - known)
                    vector = vector + 0.02 * (hi - lo) * rng.standard_normal(vector.size)
                    tried = replace(query, vector=np.clip(vector, lo, hi), synthetic=True)
            wait = 0.0 if wait <= 60.0 else wait / 2.0
            accepted = tried.vector
            try:
                query = thief.send(answer)
            except StopIteration:
                query = None
    finally:
        thief.close()


def converse_guarded(
    thief: Adaptive, predict: Predict, refuses: Refuses, budget: int, *, gap: float = 1.0
) -> tuple[Asked, ...]:
    """Play an adaptive thief against a model behind a guard, for at most `budget` attempts, refused ones included.

    ``refuses(account, query, moment)`` is asked before the model, every `gap` seconds and later where the thief waits.
    """
    asked: list[Asked] = []
    moment = 0.0
    try:
        attempt = next(thief) if budget > 0 else None
        while attempt is not None:
            moment += attempt.wait
            refused = refuses(attempt.account, attempt.query, moment)
            answer = None if refused else np.asarray(predict(attempt.query.vector[None]), dtype=np.float64)[0]
            asked.append(Asked(attempt, moment, answer))
            moment += gap
            attempt = thief.send(answer) if len(asked) < budget else None
    except StopIteration:
        pass
    finally:
        thief.close()
    return tuple(asked)
