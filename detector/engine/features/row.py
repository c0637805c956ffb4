"""A row of features: the names in their order, and where each family begins."""

from detector.engine.features import coverage, distances, outputs, rate

NAMES = (*rate.NAMES, *coverage.NAMES, *distances.NAMES, *outputs.NAMES)
RATE = 0
COVERAGE = RATE + len(rate.NAMES)
MEMORY = COVERAGE + len(coverage.NAMES)
OUTPUTS = MEMORY + len(distances.NAMES)
CONTENT = slice(COVERAGE, len(NAMES))  # all features but those of timing

__all__ = ["CONTENT", "COVERAGE", "MEMORY", "NAMES", "OUTPUTS", "RATE"]
