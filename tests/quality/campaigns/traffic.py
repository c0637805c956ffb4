"""Traffic: what many accounts asked one model, as columns, and as the batches that the engine reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import Batch, Sender
from detector.ingest.packing import label_code
from detector.redteam.conversation import Array, Labels
from detector.redteam.play import START_MS
from detector.redteam.targets import Target

DAY_MS = 86_400_000
PIECE = 4000  # events of a batch
ASKED = 4096  # rows that the model answers at once


class Account(NamedTuple):
    """An account: its id, what it is called in tables, what it says of its organisation, and the campaign it belongs to."""

    id: str
    role: str
    organization: str | None = None
    campaign: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """n queries in the order of time, of m accounts.

    `vectors` (n, dimension) are as they arrived, `answers` (n, classes) as they were told, `moments` (n,) are in days, and
    `account` (n,) is the place in `accounts`. `made` (n,) is where a thief made the query, `cover` (n,) where he hid.
    """

    vectors: npt.NDArray[np.float32]
    answers: npt.NDArray[np.float32]
    moments: Array
    account: Labels
    made: npt.NDArray[np.bool_]
    cover: npt.NDArray[np.bool_]
    accounts: Sequence[Account]

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.moments)

    def batches(self, model: str, *, labels_only: bool = False) -> tuple[Batch, ...]:
        """Return the traffic as a log of one day holds it; with `labels_only` it has no probabilities."""
        n = len(self)
        codes = np.array([label_code(label) for label in range(self.answers.shape[1])], np.int32)
        largest = np.full((n, 2), np.nan, np.float32)
        if not labels_only and n:
            largest = np.partition(self.answers, -2, axis=1)[:, :-3:-1]
        senders = [Sender("api_key", organization=one.organization) for one in self.accounts]
        places = self.account.tolist()
        whole = Batch(
            model=model,
            sequence=np.arange(n, dtype=np.int64),
            time=(START_MS + self.moments * DAY_MS).astype(np.int64),
            client=[self.accounts[place].id for place in places],
            event_id=[f"q{number + 1}" for number in range(n)],
            vector=self.vectors,
            label=codes[self.answers.argmax(axis=1)] if n else np.empty(0, np.int32),
            confidence=largest[:, 0],
            runner_up=largest[:, 1],
            weight=np.ones(n, np.float32),
            sender=[senders[place] for place in places],
            version=["1"] * n,
            refused=np.zeros(n, np.uint8),
            digest=np.zeros(n, np.uint64),
        )
        return tuple(whole.take(rows) for rows in np.split(np.arange(n), range(PIECE, n, PIECE)) if len(rows))


def together(parts: Sequence[Traffic]) -> Traffic:
    """Put the traffic of several crowds into the order of time; at the same moment an earlier part comes first."""
    shifts = np.cumsum([0, *(len(part.accounts) for part in parts)])
    order = np.argsort(np.concatenate([part.moments for part in parts]), kind="stable")
    return Traffic(
        np.concatenate([part.vectors for part in parts])[order],
        np.concatenate([part.answers for part in parts])[order],
        np.concatenate([part.moments for part in parts])[order],
        np.concatenate([part.account + shift for part, shift in zip(parts, shifts, strict=False)])[order],
        np.concatenate([part.made for part in parts])[order],
        np.concatenate([part.cover for part in parts])[order],
        [account for part in parts for account in part.accounts],
    )


def arrived(rows: Array, target: Target) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Send rows through the wire: what a log holds of them, and of what the model told."""
    pieces = [rows[begin : begin + ASKED] for begin in range(0, len(rows), ASKED)]
    sent = [target.wire.send(piece) for piece in pieces]
    told = [target.wire.reply(np.asarray(target.predict(piece), np.float64)) for piece in sent]
    return (
        np.round(np.concatenate(sent), 6).astype(np.float32),
        np.round(np.minimum(np.concatenate(told), 1.0), 9).astype(np.float32),
    )
