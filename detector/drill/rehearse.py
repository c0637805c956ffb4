"""The rehearsal itself: thieves and innocents ask at once, and what arrives about them is noted until all is there."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detector.clock import Clock
from detector.contracts.moment import rfc3339
from detector.drill.caller import Caller
from detector.drill.outcome import Arrival, Outcome, Seen, arrivals, bystander, drilled
from detector.drill.plan import Login, Pace, Part, Step
from detector.drill.watch import Watch
from detector.errors import EndpointError
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array
from detector.redteam.endpoint import Endpoint
from detector.redteam.play import Player
from detector.redteam.sessions import Disguise, innocent, thief
from detector.redteam.targets import Target
from detector.redteam.victim import Pool

__all__ = ["AHEAD_MS", "Drill", "rehearse", "staged_target"]

AHEAD_MS: Final = 300_000  # that this machine's clock may be ahead of those of alerts and decisions
POLL_S: Final = 0.05
LABELLED: Final = 48  # examples of an innocent, whose labels it asks for at the beginning
ENDS_WITHIN_S: Final = 2.0  # of each caller, after it was told to stop

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Drill:
    """Who asks where, and what is expected; `endpoint` has no login of its own."""

    endpoint: Endpoint
    target: Target
    thieves: Sequence[Part]
    innocents: Sequence[Part]
    pace: Pace
    expected: tuple[Step, ...]
    seed: int
    decisions_watched: bool


def staged_target(endpoint: Endpoint, pool: Array, columns: TableColumns | None, login: Login, seed: int) -> Target:
    """Return the model behind an endpoint, with the examples `pool` (m, dimension) dealt to thieves and innocents.

    An innocent, `login`, asks about its own examples in one request, since some habits go by labels; thieves learn theirs.
    Raises `EndpointError` where it is not answered.
    """
    order = np.random.default_rng(seed).permutation(len(pool))
    attacker, benign = np.array_split(order, [len(pool) * 3 // 5])
    benign = benign[:LABELLED]
    reply = replace(endpoint, headers={**endpoint.headers, **login.headers}).ask(pool[benign])
    if reply.answers is None:
        raise EndpointError(f"{endpoint.url} refused the innocent {login.client!r} with {reply.status} before the drill began")
    return Target(
        "staged",
        endpoint,
        Pool(pool[attacker], np.zeros(len(attacker), np.int64)),
        Pool(pool[benign], reply.answers.argmax(axis=1)),
        pool[:0],
        (float(pool.min()), float(pool.max())),
        reply.answers.shape[1],
        columns,
    )


def rehearse(drill: Drill, watches: Sequence[Watch], clock: Clock, note: Note) -> Outcome:
    """Let everybody ask, and watch until every expected step has arrived or the patience with its thief is over.

    A thief stops when all that is expected about him has arrived. On Ctrl-C everybody stops, and the outcome says what was seen
    until then. `note` is told each step as it arrives. Raises `DetectorError` where a watch cannot be read.
    """
    now_ms = clock.now_ms()
    started = rfc3339(now_ms)
    run = _Run(drill, note, now_ms - AHEAD_MS)
    interrupted = False
    try:
        run.begin()
        while not run.is_over():
            for watch in watches:
                run.take(watch)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        run.end()
    for watch in watches:
        run.take(watch)
    return Outcome(
        drill.endpoint.url,
        drill.seed,
        started,
        drill.pace.per_second,
        drill.pace.patience_s,
        drill.expected,
        tuple(drilled(part, caller, run.arrived(part, caller), drill.expected) for part, caller in run.thieves),
        tuple(bystander(part, caller, run.about(part)) for part, caller in run.innocents),
        sum(watch.unreadable for watch in watches),
        run.older,
        interrupted,
    )


class _Run:
    """The callers, and what was seen of each client so far."""

    def __init__(self, drill: Drill, note: Note, since_ms: int) -> None:
        self.older = 0  # alerts and decisions about those who ask, of before
        self._since_ms = since_ms
        self._drill = drill
        self._note = note
        self._seen: dict[str, list[Seen]] = {}
        self._ids: set[str] = set()
        self._noted: set[tuple[str, Step]] = set()
        self._ended_s: dict[str, float] = {}
        self.thieves = [
            (part, self._caller(part, thief(part.role, number, drill.target, Disguise(), drill.pace.budget, 1.0, drill.seed)))
            for number, part in enumerate(drill.thieves)
        ]
        self.innocents = [
            (part, self._caller(part, innocent(part.role, number, drill.target, drill.pace.innocent_budget, 1.0, drill.seed)))
            for number, part in enumerate(drill.innocents)
        ]
        self._callers = {part.login.client: caller for part, caller in (*self.thieves, *self.innocents)}
        self._threads = {
            client: threading.Thread(target=caller.call, name=client, daemon=True) for client, caller in self._callers.items()
        }

    def _caller(self, part: Part, player: Player) -> Caller:
        endpoint = self._drill.endpoint
        named = replace(endpoint, headers={**endpoint.headers, **part.login.headers})
        return Caller(player, named.ask, self._drill.target.wire, self._drill.pace.per_second)

    def begin(self) -> None:
        """Let everybody ask."""
        for thread in self._threads.values():
            thread.start()

    def end(self) -> None:
        """Tell everybody to stop, and wait for them a little: a request may still wait for its reply."""
        for caller in self._callers.values():
            caller.stop.set()
        until = time.monotonic() + ENDS_WITHIN_S
        for thread in self._threads.values():
            if thread.ident is not None:  # it was started before an interruption
                thread.join(max(until - time.monotonic(), 0.0))

    def take(self, watch: Watch) -> None:
        """Note what has arrived, once each: several watches may see the same."""
        for sighting in watch.poll():
            if sighting.id in self._ids:
                continue
            self._ids.add(sighting.id)
            if sighting.time_ms < self._since_ms:  # of an earlier drill, written once more
                self.older += bool(sighting.clients & self._threads.keys())
                continue
            for client in sighting.clients & self._threads.keys():
                self._seen.setdefault(client, []).append(Seen(time.monotonic(), sighting))
                if sighting.action == "perturb" and not sighting.simulated:
                    self._callers[client].suspects.set()

    def about(self, part: Part) -> Sequence[Seen]:
        """Return what was seen of a client."""
        return self._seen.get(part.login.client, ())

    def arrived(self, part: Part, caller: Caller) -> Sequence[Arrival]:
        """Return the steps that have arrived about a thief."""
        return arrivals(caller, self.about(part), decisions_watched=self._drill.decisions_watched)

    def is_over(self) -> bool:
        """Tell whether nothing more is waited for; thieves about whom all has arrived are told to stop."""
        through = [self._is_through(part, caller) for part, caller in self.thieves]
        return all(through) and not any(self._threads[part.login.client].is_alive() for part, _ in self.innocents)

    def _is_through(self, part: Part, caller: Caller) -> bool:
        arrived = self.arrived(part, caller)
        self._tell(part, arrived)
        if not set(self._drill.expected) - {one.step for one in arrived}:
            caller.stop.set()
        if self._threads[part.login.client].is_alive():
            return False
        if caller.stop.is_set() or caller.fault is not None:
            return True
        ended_s = self._ended_s.setdefault(part.login.client, time.monotonic())
        return time.monotonic() - ended_s > self._drill.pace.patience_s

    def _tell(self, part: Part, arrived: Sequence[Arrival]) -> None:
        for one in arrived:
            if (part.login.client, one.step) not in self._noted:
                self._noted.add((part.login.client, one.step))
                self._note(f"{part.login.client}: {one.step} after {one.seconds:.1f} s and {one.queries} queries: {one.told}")
