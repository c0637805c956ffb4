"""Worlds for campaigns: days of one model, with the benign accounts among which a thief's accounts hide.

Each is data of `tests.quality.worlds` on the usual wire. Open worlds have the profiles that calibration may know and those that
are frozen; ten worlds are held out, with profiles of every wave, and say how often accounts are linked that have nothing to do
with each other. Nobody looks at them while anything changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from detector.redteam.entries import Wave
from detector.redteam.targets import Target
from tests.quality import worlds
from tests.quality.campaigns.day import benign_day
from tests.quality.campaigns.fresh import enlarged
from tests.quality.campaigns.traffic import Traffic
from tests.quality.history import CALIBRATION_SEED, TEACHING_SEED, playable
from tests.quality.simulation import Simulation, simulated

OPEN_WAVES: tuple[Wave, ...] = ("known", "frozen")
ALL_WAVES: tuple[Wave, ...] = ("known", "frozen", "later", "held-out")
LEFT_OUT = frozenset({"sign_noise"})  # a tester whose queries are those of an attack
EXAMPLES = 24_000  # natural examples in each pool
Part = Literal["teaching", "calibration"]


@dataclass(frozen=True, slots=True)
class World:
    """A day by its permanent id: which data, which profiles, and what share of the organisations say who they are."""

    id: str
    data: str
    seed: int
    waves: tuple[Wave, ...] = OPEN_WAVES
    told: float = 0.0
    held_out: bool = False

    @property
    def victim(self) -> str:
        """Return the kind of model that is served."""
        return worlds.VICTIMS[self.data]


def _held_out(data: str) -> World:
    return World(f"{data}-day", data, 1, ALL_WAVES, 0.5, held_out=True)


WORLDS: Mapping[str, World] = MappingProxyType(
    {
        world.id: world
        for world in (
            World("digits-known", "digits_8bit", 1, ("known",)),
            World("digits-all", "digits_8bit", 2),
            World("patches-known", "patches", 1, ("known",)),
            World("patches-all", "patches", 2),
            World("patches-named", "patches", 3, told=1.0),
            World("features-all", "features", 1),
            World("fraud-all", "fraud", 1),
            World("machines-all", "machines", 1),
            World("wide-all", "wide", 1),
            _held_out("portrait"),
            _held_out("scan"),
            _held_out("terrain"),
            _held_out("docstrings"),
            _held_out("features_portrait"),
            _held_out("segments"),
            _held_out("solar"),
            _held_out("many"),
            _held_out("visits"),
            _held_out("customers"),
        )
    }
)
"""Worlds by permanent id: those that anybody may look at, then the ten that are held out."""
HELD_OUT = frozenset(world.id for world in WORLDS.values() if world.held_out)


@lru_cache(maxsize=2)
def served(world: World) -> Simulation:
    """Train the model of a world and enlarge the pools of its clients."""
    return enlarged(simulated(world.data, world.victim, world.seed), EXAMPLES, world.seed)


def profiles_for(world: World) -> list[str]:
    """Return the benign profiles of a world."""
    model = simulated(world.data, world.victim, world.seed)
    return [name for wave in world.waves for name in playable(model, wave) if name not in LEFT_OUT]


def day_of(world: World, accounts: int) -> Traffic:
    """Play the benign day of a world, with the inputs of clients that nothing was fitted on."""
    return benign_day(served(world).evaluation, accounts, profiles_for(world), world.seed, told=world.told)


def past_day(world: World, accounts: int, part: Part = "calibration") -> Traffic:
    """Play a day before, of known profiles alone in the same structures, with the inputs of teachers or of calibration clients.

    On the teachers' a reference is fitted; what is linked on the other day calibrates.
    """
    model = served(world)
    target: Target = getattr(model, part)
    seed = {"teaching": TEACHING_SEED, "calibration": CALIBRATION_SEED}[part] + world.seed
    return benign_day(target, accounts, playable(model), seed, told=world.told)
