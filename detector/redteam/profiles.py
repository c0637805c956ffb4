"""What an innocent profile is, and what it may be used for.

A detector that was calibrated on a profile has seen it. So the *known* profiles, which may serve for calibration, are
judged with each left out in turn; and even that is optimistic, because whoever designed the detector knew them. The others
are *frozen*: devices, explainers and tools that came after the design, on which nothing may be tuned. They are the gate for
a release, and once a threshold has been chosen by looking at one of them it belongs to the known. Since the frozen ones had
been looked at by then, a second wave came *later* and is counted apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from detector.redteam.conversation import Array, Conversation, Labels

MakeProfile: TypeAlias = Callable[[Array, Labels, np.random.Generator, Any], Conversation]
Tier: TypeAlias = Literal["known", "frozen", "later"]
Data: TypeAlias = Literal["image", "tabular", "text"]


@dataclass(frozen=True, slots=True)
class Profile:
    """An innocent habit.

    With pictures and texts ``make(pool, labels, rng, value_range)`` begins it, with records
    ``make(pool, labels, rng, columns)``, where `columns` is a `detector.redteam.columns.Columns`; `data` says
    which. `tier` says what the profile may be used for, see the module. `source` is where the habit comes from; `arrival` is
    the process of `arrivals.ARRIVALS` that belongs to it.
    """

    id: str
    title: str
    family: str
    source: str
    make: MakeProfile
    arrival: str = "poisson"
    tier: Tier = "known"
    data: Data = "image"
