"""The service on Kafka: its stages, their state, and their metrics.

*Ingest* reads prediction logs, validates them and writes normalised events, keyed by client, to `detector.queries`. *Detect*
reads those, one shard per partition, and writes alerts and decisions at once. Every few seconds it commits the clients that
changed and its offsets in one transaction. *Ship* feeds alerts and decisions to the receivers, one delivery each.
"""
