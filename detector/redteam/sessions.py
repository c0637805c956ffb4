"""Sessions: thieves, in disguise or not, and innocents ask one model; beside the log goes the truth.

The truth is what no log has: who was a thief, and which queries were made or cover.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from detector.errors import ConfigError
from detector.redteam.accounts import SPLITS, Campaign
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Conversation
from detector.redteam.copy import best_fidelity_at
from detector.redteam.evasion import blinded, covered, duplicated, flushed, slow_drip, woven
from detector.redteam.play import START_MS, Claims, Player, event_id, event_line, json_line, turns
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.setting import Data
from detector.redteam.targets import Target
from detector.redteam.texts import on_sphere

STEADY: Mapping[Data, str] = MappingProxyType({"image": "steady", "tabular": "tab_steady", "text": "text_steady"})


@dataclass(frozen=True, slots=True)
class Disguise:
    """How thieves hide: shares of cover and of repeats, blinding, accounts and how they share the queries, and pace.

    `weave` is how many searches are interleaved, `flush` how many queries of cover come before each query that was made. The
    accounts are spread over so many `organizations` and `user_agents`, and say nothing of either where that is 0; queries come
    at random over `hours`, or with the gaps of everybody.
    """

    cover: float = 0.0
    cover_profile: str | None = None
    repeats: float = 0.0
    jitter: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    accounts: int = 1
    split: str = "round-robin"
    per_day: float | None = None
    weave: int = 1
    flush: int = 0
    organizations: int = 0
    user_agents: int = 0
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of one player: `copies` is the fidelity after so many queries."""

    name: str
    role: str
    hostile: bool
    accounts: int
    queries: int
    synthetic: int
    cover: int
    copies: dict[int, float]


def thief(role: str, number: int, target: Target, disguise: Disguise, budget: int, gap: float, seed: int) -> Player:
    """Cast a thief by the id of his attack; raises `ConfigError` where attack or disguise do not go with the model."""
    if role not in ATTACKS:
        raise ConfigError(f"there is no attack {role!r}; `detector redteam list` names them")
    rng = _generator(seed, role, number)
    pool = target.attacker
    try:
        searches = [ATTACKS[role].begin(target.setting(pool, one)) for one in [rng, *rng.spawn(max(disguise.weave - 1, 0))]]
        conversation = searches[0] if len(searches) == 1 else woven(searches)
        own = np.random.default_rng([seed, number, zlib.crc32(role.encode()), disguise.accounts])
        deal = SPLITS[disguise.split](Campaign(disguise.accounts, budget, pool.vectors, pool.labels, own))
    except KeyError:
        raise ConfigError(f"accounts are split by {', '.join(SPLITS)}, not {disguise.split!r}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if target.unit:
        conversation = on_sphere(conversation)
    if disguise.jitter or disguise.shift or disguise.stretch:
        if target.columns is not None:
            raise ConfigError("blinding is for pictures: a code cannot be moved a little")
        conversation = blinded(
            conversation, rng, target.value_range, jitter=disguise.jitter, shift=disguise.shift, stretch=disguise.stretch
        )
    if disguise.repeats:
        conversation = duplicated(conversation, disguise.repeats, rng)
    profile = disguise.cover_profile or STEADY[target.data]
    if disguise.flush:
        conversation = flushed(conversation, _innocent(profile, target, rng), disguise.flush)
    if disguise.cover:
        conversation = covered(conversation, _innocent(profile, target, rng), disguise.cover, rng)
    if disguise.hours is not None:
        gap = 3600.0 * disguise.hours / budget
    gaps = ARRIVALS["poisson"](rng, gap)
    if disguise.per_day is not None:
        gaps = slow_drip(gaps, disguise.per_day, rng)
    name = f"thief-{role}-{number + 1}"
    first = START_MS + 1000.0 * float(rng.uniform(0.0, 10.0 * gap))
    return Player(
        name,
        role,
        True,
        conversation,
        gaps,
        budget,
        first,
        disguise.accounts,
        deal,
        Claims(disguise.organizations, disguise.user_agents),
    )


def innocent(role: str, number: int, target: Target, budget: int, gap: float, seed: int) -> Player:
    """Cast an innocent by the id of its profile; raises `ConfigError` where the profile does not go with the model."""
    rng = _generator(seed, role, number)
    conversation = _innocent(role, target, rng)
    first = START_MS + 1000.0 * float(rng.uniform(0.0, 10.0 * gap))
    gaps = ARRIVALS[PROFILES[role].arrival](rng, gap)
    return Player(f"{role}-{number + 1}", role, False, conversation, gaps, budget, first)


def play(players: Sequence[Player], target: Target) -> Iterator[tuple[bytes, bytes]]:
    """Yield each event and the truth about it, both as JSON lines, in the order of time; players remember what they heard.

    Raises `ConfigError` where a conversation finds that it cannot begin with such data, and what the model raises.
    """
    for turn in turns(players, target.predict, target.wire):
        player = turn.player
        account = player.deal(turn.query)
        client = player.name if player.accounts == 1 else f"{player.name}-{account + 1:03d}"
        truth = {
            "event_id": event_id(turn),
            "client": client,
            "thief": player.name if player.hostile else None,
            "role": player.role,
            "hostile": player.hostile,
            "synthetic": turn.query.synthetic,
            "cover": turn.query.cover,
        }
        yield event_line(turn, client, target.id, digits=6, claims=player.claims.of(player.name, account)), json_line(truth)


def judged(player: Player, target: Target, moments: Sequence[int], *, copies: bool = True) -> Summary:
    """Sum up one player; thieves get the fidelity of the copy at each of `moments` and at the end, unless not `copies`."""
    found: dict[int, float] = {}
    asked = len(player.vectors)
    if player.hostile and copies and asked:
        reached = sorted({min(moment, asked) for moment in moments} | {asked})
        vectors, answers = np.stack(player.vectors), np.stack(player.answers)
        found = best_fidelity_at(reached, vectors, answers, target.test, target.predict, 0, target.encode)
    return Summary(
        player.name,
        player.role,
        player.hostile,
        player.accounts,
        asked,
        int(sum(player.synthetic)),
        int(sum(player.cover)),
        {moment: round(share, 4) for moment, share in found.items()},
    )


def _generator(seed: int, role: str, number: int) -> np.random.Generator:
    """Random numbers of one player: they depend on who plays, not on who else does."""
    return np.random.default_rng([seed, number, zlib.crc32(role.encode())])


def _innocent(role: str, target: Target, rng: np.random.Generator) -> Conversation:
    profile = PROFILES.get(role)
    if profile is None:
        raise ConfigError(f"there is no benign profile {role!r}; `detector redteam list` names them")
    try:
        return profile.begin(target.setting(target.benign, rng))
    except ValueError as error:
        raise ConfigError(str(error)) from error
