"""The service on Kafka: two stages, their state, and what keeps them honest.

*Ingest* reads prediction logs, validates them and writes normalised events keyed by client to `detector.queries`. *Detect*
reads those, one shard per partition, writes alerts and decisions at once, and every few seconds commits the clients that
changed together with its offsets, in one transaction.
"""
