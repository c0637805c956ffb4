"""The references of models: sketches that two of them reduced cannot be compared."""

from detector.baseline.store import Baseline


def references_of(baseline: Baseline | None) -> dict[str, str]:
    """Return the fingerprint of each model's reference; models without a baseline have none: no links are sought there."""
    return {} if baseline is None else {model: known.reference.fingerprint for model, known in baseline.models.items()}
