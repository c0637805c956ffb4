"""The engine: from batches of events to alerts and decisions. Pure: no input or output, no client library, no wall clock.

`shard` owns the clients of one partition and is the only entry: ``Shard.process(batch) -> outputs``. Below it `clients` keeps
one row of arrays per client and model, `memory` what is retained of a client's queries, `features` and `evidence` what each
query adds, `models` the online and the fitted models that score, `judge` what a score calls for, `policy` the action.
"""
