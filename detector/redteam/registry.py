"""Every simulated client by its permanent id.

Ids stand in published tables and in the labels of recorded logs: one that has been given is never renamed nor reused. A
new family is a module of its own and one entry, of `attacks`, `known_profiles`, `frozen_profiles` or `later_profiles`; the
tests walk all of them and hold every entry to the same promises.
"""

from collections.abc import Mapping
from types import MappingProxyType

from detector.redteam.attacks import ATTACKS, Attack
from detector.redteam.frozen_profiles import FROZEN
from detector.redteam.known_profiles import KNOWN
from detector.redteam.later_profiles import LATER
from detector.redteam.profiles import Data, MakeProfile, Profile, Tier
from detector.redteam.text_profiles import TEXT

__all__ = ["ATTACKS", "PROFILES", "Attack", "MakeProfile", "Profile", "profiles_of"]

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.id: profile for profile in (*KNOWN, *FROZEN, *LATER, *TEXT)})
"""Innocent profiles by id, those that may serve for calibration first, those with texts last."""


def profiles_of(data: Data, tier: Tier | None = None) -> dict[str, Profile]:
    """The profiles of one kind of data, of one tier or of all, by id and in the order of `PROFILES`.

    >>> list(profiles_of("image", "known"))[:3]
    ['steady', 'bursty', 'skewed']
    """
    return {
        name: profile for name, profile in PROFILES.items() if profile.data == data and (tier is None or profile.tier == tier)
    }
