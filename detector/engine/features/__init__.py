"""The features of a client: one family per file; `row` fixes the order of all of them in a row.

============  ==============================================================================================
`rate`        how fast, how bursty, how regular
`coverage`    how much of the input space, and whose
`distances`   to the client's earlier queries (PRADA style), near duplicates, repeats; computed in `engine.memory`
`outputs`     margins, confidence, label flips
============  ==============================================================================================
"""
