"""A day of one model without a thief: hundreds to thousands of benign accounts, most of them in organisations."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detector.redteam.sessions import innocent
from detector.redteam.targets import Target
from detector.redteam.victim import Pool
from tests.quality.campaigns.structures import STRUCTURES, Member, Scene, Structure
from tests.quality.campaigns.traffic import Account, Traffic, arrived
from tests.quality.fleet import ask_all

SITES, OF_A_SITE = 40, 1500  # pools that clients hold, and the most examples in one


def benign_day(target: Target, accounts: int, profiles: Sequence[str], seed: int, *, told: float = 0.0) -> Traffic:
    """Play a day of at least `accounts` benign accounts of these profiles against a model, which holds their natural inputs.

    `told` is the share of the structures whose accounts name an organisation. The last structure is played whole, so there may
    be some accounts more. The same arguments give the same day.
    """
    rng = np.random.default_rng([seed, 77])
    scene = Scene.of(target, profiles, rng)
    names = list(STRUCTURES)
    shares = np.array([STRUCTURES[name][0] for name in names])
    found: list[Sequence[Member]] = []
    enough = 0
    while enough < accounts:
        begun = [
            _begun(scene, names[kind], rng)
            for kind in rng.choice(len(names), _more(accounts - enough), p=shares / shares.sum())
        ]
        new = _played(begun, target, rng)
        for members in new:
            if enough >= accounts:
                break
            found.append(members)
            enough += len(members)
    return _day(found, target, rng, told)


def _more(accounts: int) -> int:
    """How many structures are played before accounts are counted: a structure has about three."""
    return max(1, accounts // 4)


def _begun(scene: Scene, name: str, rng: np.random.Generator) -> Structure:
    return STRUCTURES[name][1](scene, rng.spawn(1)[0])


def _played(structures: Sequence[Structure], target: Target, rng: np.random.Generator) -> list[Sequence[Member]]:
    """Play the streams that all structures need at once, and let each make its accounts of them."""
    pool = target.benign
    sites = [rng.choice(len(pool.vectors), min(OF_A_SITE, len(pool.vectors)), replace=False) for _ in range(SITES)]
    held = [replace(target, benign=Pool(pool.vectors[rows], pool.labels[rows])) for rows in sites]
    wanted = [next(structure) for structure in structures]
    seed = int(rng.integers(2**31))
    streams = [stream for streams in wanted for stream in streams]
    players = [
        innocent(stream.profile, number, held[number % SITES], stream.queries, 1.0, seed)
        for number, stream in enumerate(streams)
    ]
    ask_all(players, target)
    asked = iter([player.vectors for player in players])
    found: list[Sequence[Member]] = []
    for structure, needed in zip(structures, wanted, strict=True):
        rows = [next(asked) for _ in needed]
        if not all(rows):  # a profile that these data give nothing to ask about
            structure.close()
            continue
        try:
            structure.send([np.stack(one) for one in rows])
        except StopIteration as end:
            found.append(end.value)
    return found


def _day(groups: Sequence[Sequence[Member]], target: Target, rng: np.random.Generator, told: float) -> Traffic:
    accounts: list[Account] = []
    members: list[Member] = []
    for number, group in enumerate(groups):
        organization = f"org-{number + 1}" if rng.random() < told else None
        for member in group:
            accounts.append(Account(f"account-{len(accounts) + 1}", member.role, organization))
            members.append(member)
    moments = np.concatenate([member.moments for member in members])
    account = np.repeat(np.arange(len(members)), [len(member.rows) for member in members])
    order = np.lexsort((account, moments))
    vectors, answers = arrived(np.concatenate([member.rows for member in members])[order], target)
    nothing = np.zeros(len(order), np.bool_)
    return Traffic(vectors, answers, moments[order], account[order], nothing, nothing, accounts)
