"""Output perturbation: a client that is suspected of copying the model is told less of its answers.

`modes` is the pure function, `bodies` knows how servers write answers, `middleware`, `proxy` and `litellm` are where it is
called. None of them imports the engine. See the page on perturbation for what each mode costs a thief, and what it costs the
honest.
"""

from detector.perturb.modes import How, Mode, perturb
from detector.perturb.record import output_fields
from detector.perturb.settings import how_of
from detector.perturb.telling import Told, tell

__all__ = ["How", "Mode", "Told", "how_of", "output_fields", "perturb", "tell"]
