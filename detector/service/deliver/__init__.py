"""Deliveries of the service: each receiver is fed the alerts and decisions from their topics, at its own pace.

A receiver has a consumer group of its own, and in every worker a thread that reads and a delivery worker
(`detector.sinks.worker`), so one that is slow or away holds up nobody: not the detection, not the other receivers. While it is,
its partitions are paused and polling goes on; nothing is dropped, since the topics hold it all. Offsets are committed when the
receiver has what came before them, so after a crash some of it is delivered once more, with the same ids. What a receiver
refuses for good goes to the dead letters; the gauge ``detector_sink_lag_messages`` tells how much waits. A receiver that is new
begins with the oldest alerts there are.
"""
