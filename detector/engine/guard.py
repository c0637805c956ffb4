"""Guard: how many clients of a model may be stopped, so that a mistake does not reach all of them.

Thresholds keep a budget of false blocks for traffic that resembles the calibration. A new release of an application, or a
broken field in the log, may make every client look like a thief at once. The guard limits that: at most so many new stops in
any minute of event time, and at most a share of the active clients stopped at one time. A stop beyond a limit is *held back*:
the client is throttled instead, and is stopped by its next evidence for which there is room.

A client counts as active on each UTC day on which it asked. Everything follows from the events and their order, so a replay
holds back the same stops. Simulated stops and real ones are limited apart: a channel in shadow mode uses up nothing.

Each partition has its own guard, and so has each model in it. Clients of another partition are not seen.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from detector.engine.policy import PolicySettings

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
ALWAYS: Final = 20
"""So many clients may be stopped at one time, whatever their share: models with few clients need protection, too."""
QUIET_MS: Final = 600_000
"""After so long without a stop held back, the next one begins a new episode, with alerts of its own."""
MINUTES_KEPT: Final = 16
"""Stop times are kept for so many minutes at the full rate: longer than events come out of order."""
DAYS_KEPT: Final = 16
EPISODES: Final = 255
"""Episodes are numbered from 1 to this number, and then from 1 again."""


@dataclass(slots=True)
class Episode:
    """A time in which stops are held back: when it began, the latest one, and how many clients so far."""

    number: int = 0
    first_ms: int = 0
    latest_ms: int = 0
    clients: int = 0


@dataclass(slots=True)
class _Side:
    """What is known of the real stops, or of the simulated ones: times of the latest, in order, and the latest episode."""

    stops: list[int] = field(default_factory=list)
    episode: Episode = field(default_factory=Episode)


class StopGuard:
    """Limits the stops of one model in one partition; `partitions` share the stops of a minute evenly."""

    def __init__(self, policy: PolicySettings, partitions: int = 1) -> None:
        self._partitions = partitions
        self._sides = (_Side(), _Side())
        self._days: dict[int, int] = {}
        self._episodes = 0
        self.adopt(policy)

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under the limits of another policy."""
        wanted = policy.new_stops_per_minute
        self._wanted = wanted
        self._most = 0 if wanted == 0 else max(wanted // self._partitions, 1)
        self._share = policy.stopped_share

    @property
    def measures_share(self) -> bool:
        """Whether the number of clients that are stopped matters."""
        return self._share < 1

    def note_active(self, day: int) -> None:
        """Count a client that asks for the first time on a day; days are counted from 1970."""
        self._days[day] = self._days.get(day, 0) + 1
        if len(self._days) > DAYS_KEPT:
            del self._days[min(self._days)]

    def active(self, time_ms: int) -> int:
        """Return the number of active clients: of this day so far or of the day before, whichever is more."""
        day = time_ms // DAY_MS
        return max(self._days.get(day, 0), self._days.get(day - 1, 0))

    def refusal(self, time_ms: int, stopped: int, *, simulated: bool) -> str | None:
        """Return why there is no room for a new stop at this time, in words; None where there is, and then it is counted.

        `stopped` is the number of clients that are stopped now. The words name the limit.
        """
        stops = self._sides[simulated].stops
        if self._most:
            around = bisect_left(stops, time_ms + MINUTE_MS) - bisect_right(stops, time_ms - MINUTE_MS)
            too_old = len(stops) >= MINUTES_KEPT * self._most and time_ms - MINUTE_MS < stops[0]
            if around >= self._most or too_old:
                part = "" if self._partitions == 1 else f", here {self._most} of each of {self._partitions} partitions"
                return f"[policy] new_stops_per_minute allows {self._wanted}{part}"
        if self.measures_share and stopped >= ALWAYS and stopped >= self._share * (active := self.active(time_ms)):
            return f"[policy] stopped_share allows {self._share:g} of {active} active clients, and {stopped} are stopped"
        if self._most:
            insort(stops, time_ms)
            del stops[: -MINUTES_KEPT * self._most]
        return None

    def episode(self, time_ms: int, *, simulated: bool) -> Episode:
        """Return the episode of a stop that is held back at this time; it may be new."""
        side = self._sides[simulated]
        if not side.episode.number or time_ms > side.episode.latest_ms + QUIET_MS:
            self._episodes += 1
            side.episode = Episode((self._episodes - 1) % EPISODES + 1, time_ms, time_ms)
        side.episode.latest_ms = max(side.episode.latest_ms, time_ms)
        return side.episode

    def state(self) -> dict[str, Any]:
        """Return the state as plain data, to be saved."""
        return {
            "days": sorted(self._days.items()),
            "episodes": self._episodes,
            "sides": [
                [side.stops, [side.episode.number, side.episode.first_ms, side.episode.latest_ms, side.episode.clients]]
                for side in self._sides
            ],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore what `state` returned; raises ValueError or TypeError for anything else."""
        self._days = {int(day): int(count) for day, count in saved["days"]}
        self._episodes = int(saved["episodes"])
        real, simulated = (_Side(sorted(map(int, stops)), Episode(*map(int, episode))) for stops, episode in saved["sides"])
        if not all(0 <= side.episode.number <= EPISODES for side in (real, simulated)):
            raise ValueError(f"episodes are numbered from 1 to {EPISODES}")
        self._sides = (real, simulated)


def tenfold(count: int) -> bool:
    """Tell whether a count is 1, 10, 100 and so on: an alert at each says how many, and there are few.

    >>> [count for count in range(1, 2000) if tenfold(count)]
    [1, 10, 100, 1000]
    """
    return str(count).rstrip("0") == "1"
