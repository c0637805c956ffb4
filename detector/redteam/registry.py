"""Every attack and every benign profile by its permanent id, in the order in which they are published.

Ids stand in published tables and in the labels of recorded logs: one that has been given is never renamed nor reused. The
tests walk all entries and hold each to the same promises.
"""

from detector.redteam import attacks, profiles
from detector.redteam.entries import DECLARED_ATTACKS, DECLARED_PROFILES, Attack, Profile, Wave
from detector.redteam.setting import Data

__all__ = ["ATTACKS", "PROFILES", "Attack", "Profile", "attacks", "profiles", "profiles_of"]

ATTACKS = DECLARED_ATTACKS
"""Attacks by id, module by module."""
PROFILES = DECLARED_PROFILES
"""Benign profiles by id, those that may serve for calibration first, those with texts last."""


def profiles_of(data: Data, wave: Wave | None = None) -> dict[str, Profile]:
    """The profiles of one kind of data, of one wave or of all, by id and in the order of `PROFILES`.

    >>> list(profiles_of("image", "known"))[:3]
    ['steady', 'bursty', 'skewed']
    """
    return {name: one for name, one in PROFILES.items() if one.data == data and (wave is None or one.wave == wave)}
