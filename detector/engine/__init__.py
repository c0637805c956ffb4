"""The engine: from batches of events to alerts and decisions. Pure: no input or output, no client library, no wall clock.

`shard` owns the clients of one partition and is the only entry point: ``Shard.process(batch) -> outputs``. Below it, `clients`
keeps one row of arrays per client and model. `memory` retains a client's queries. `features` and `evidence` compute what each
query adds. `models` holds the online and the fitted models that score a client. `judge` raises findings and decisions from the
scores, and `policy` sets the thresholds and actions.
"""
