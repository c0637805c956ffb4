"""Deliveries of the service: each receiver is fed the alerts and decisions from their topics, at its own pace.

Each receiver, Elasticsearch included, has its own consumer group, and in every worker a thread that reads and a delivery worker
(`detector.sinks.worker`). So a receiver that is slow or away delays neither the detection nor the other receivers. Meanwhile
its partitions are paused and polling goes on; nothing is dropped, since the topics hold everything. An offset is committed once
the receiver has all records before it, so after a crash some are delivered again, with the same ids. A record that a receiver
refuses for good becomes a dead-letter record. The gauge ``detector_sink_lag_messages`` shows how many records wait. A new
receiver begins with the oldest alerts in the topic.
"""
