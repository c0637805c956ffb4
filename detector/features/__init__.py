"""What is computed of every client: one family of features a file, and the order of all of them in a row.

=============  ==============================================================================================
`admission`    which events count; when a client is looked at
`rate`         how fast, how bursty, how regular
`coverage`     how much of the input space, and whose
`memory`       distances to the client's earlier queries (PRADA style), near duplicates, repeats
`outputs`      margins, confidence, label flips
=============  ==============================================================================================
"""

from detector.features import coverage, memory, outputs, rate

NAMES = (*rate.NAMES, *coverage.NAMES, *memory.NAMES, *outputs.NAMES)
RATE = 0
COVERAGE = RATE + len(rate.NAMES)
MEMORY = COVERAGE + len(coverage.NAMES)
OUTPUTS = MEMORY + len(memory.NAMES)
CONTENT = slice(COVERAGE, len(NAMES))  # everything but timing

__all__ = ["CONTENT", "COVERAGE", "MEMORY", "NAMES", "OUTPUTS", "RATE"]
