"""The models that links are sought in, and their references: sketches that two references reduced cannot be compared."""

from detector.baseline.store import Baseline
from detector.config import Config


def references_of(config: Config, baseline: Baseline | None) -> dict[str, str]:
    """Return the fingerprint of the reference of each model that links are sought in.

    Models without a baseline have none, and there are none where ``[links] enabled`` is false.
    """
    known = baseline.models if baseline is not None and config.links.enabled else {}
    return {model: one.reference.fingerprint for model, one in known.items()}
