"""Many clients at once, fast: what a log of them would hold, without writing the lines.

Played one by one (`detector.redteam.sessions.play`), a model that answers single rows costs more than everything else. Here
all clients wait for each other: each asks one query, the model answers all of them at once, and only when nobody has a query
left are the events put into the order of time. Since the answers do not depend on the time, every client asks what it would
have asked; numbers are rounded as in a log, and only the last digit of a probability may differ where the model's own
arithmetic does. Published detectors are not served: the sessions of the log are empty.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detector.ingest.batch import Batch, Sender
from detector.ingest.packing import label_code
from detector.redteam.conversation import AskedQuery
from detector.redteam.play import Player
from detector.redteam.targets import Target
from tests.quality.observed import Log

SENDER = Sender("api_key")
PIECE = 4000  # events of a batch


def fleet(players: Sequence[Player], target: Target, *, labels_only: bool = False) -> Log:
    """Play clients with one account each against a model, and read what they asked as the engine reads a log.

    With `labels_only` the log holds no probabilities. Raises `ConfigError` where a conversation finds that it cannot begin
    with such data, ValueError for a client with several accounts.
    """
    if any(player.accounts > 1 for player in players):
        raise ValueError("a fleet is of clients with one account")
    moments = ask_all(players, target)
    numbers = np.repeat(np.arange(len(players)), [len(times) for times in moments])
    times = np.array([time for one in moments for time in one])
    order = np.lexsort((numbers, times))
    if not len(order):
        return Log((), {}, {}, np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_))
    numbers = numbers[order]
    vectors = np.round(np.concatenate([np.stack(p.vectors) for p in players if p.vectors])[order], 6).astype(np.float32)
    answers = np.concatenate([np.stack(p.answers) for p in players if p.answers])[order]
    codes = np.array([label_code(label) for label in range(answers.shape[1])], np.int32)
    largest = np.full((len(order), 2), np.nan, np.float32)
    if not labels_only:
        largest = np.partition(np.round(np.minimum(answers, 1.0), 9), -2, axis=1)[:, :-3:-1].astype(np.float32)
    ids = [f"{player.name}#{place + 1}" for player in players for place in range(len(player.vectors))]
    whole = Batch(
        model=target.id,
        sequence=np.arange(len(order), dtype=np.int64),
        time=times[order].astype(np.int64),
        client=[players[number].name for number in numbers.tolist()],
        event_id=[ids[place] for place in order.tolist()],
        vector=vectors,
        label=codes[answers.argmax(axis=1)],
        confidence=largest[:, 0],
        runner_up=largest[:, 1],
        weight=np.ones(len(order), np.float32),
        sender=[SENDER] * len(order),
        version=["1"] * len(order),
        refused=np.zeros(len(order), np.uint8),
        digest=np.zeros(len(order), np.uint64),
    )
    pieces = np.split(np.arange(len(order)), range(PIECE, len(order), PIECE))
    return Log(
        batches=tuple(whole.take(rows) for rows in pieces),
        sessions={},
        places={player.name: np.flatnonzero(numbers == number) for number, player in enumerate(players) if player.vectors},
        player=numbers,
        synthetic=np.array([made for player in players for made in player.synthetic], np.bool_)[order],
        cover=np.array([cover for player in players for cover in player.cover], np.bool_)[order],
    )


def parted(log: Log, players: Sequence[Player]) -> list[Log]:
    """The log of each player of a fleet as if it had been alone with the model."""
    return [_alone(log, number, player.name) for number, player in enumerate(players)]


def _alone(log: Log, number: int, name: str) -> Log:
    mine = log.player == number
    batches, count = [], 0
    for batch in log.batches:
        rows = np.flatnonzero(mine[batch.sequence])
        if len(rows):
            batches.append(replace(batch.take(rows), sequence=np.arange(count, count + len(rows), dtype=np.int64)))
            count += len(rows)
    return Log(
        batches=tuple(batches),
        sessions={},
        places={name: np.arange(count)} if count else {},
        player=np.zeros(count, np.int64),
        synthetic=log.synthetic[mine],
        cover=log.cover[mine],
    )


def ask_all(players: Sequence[Player], target: Target) -> list[list[float]]:
    """Let all ask until their budgets are spent, one query each in turn; return when each query came, in ms.

    The players remember what they asked and heard. Raises `ConfigError` where a conversation finds that it cannot begin.
    """
    moments: list[list[float]] = [[] for _ in players]
    waiting: dict[int, AskedQuery] = {}
    try:
        for number, player in enumerate(players):
            if (first := player.begin()) is not None:
                waiting[number] = first
        while waiting:
            sent = target.wire.send(np.stack([query.vector for query in waiting.values()]))
            answers = target.wire.reply(np.asarray(target.predict(sent), np.float64))
            for (number, query), vector, answer in zip(list(waiting.items()), sent, answers, strict=True):
                player = players[number]
                player.hear(replace(query, vector=vector), answer)
                moments[number].append(player.next_ms)
                del waiting[number]
                if (following := player.go_on()) is not None:
                    waiting[number] = following
                    player.next_ms += 1000.0 * next(player.gaps)
    finally:
        for player in players:
            player.conversation.close()
    return moments
