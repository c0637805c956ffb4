"""Count the queries of each client in a log with another stream processor: a program of its own, for its own environment.

    python counting.py bytewax LOG
    python counting.py quixstreams LOG --broker ADDRESS
    python counting.py consume LOG --broker ADDRESS

It needs the standard library, orjson and the processor, and nothing of this project. It prints one line of JSON: the events,
the processor seconds of all threads while they were counted, and the counts, so that the caller can check them. Starting,
reading the file and filling the topic do not count.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

BATCH = 1000  # records a poll takes at most


def with_bytewax(lines: list[bytes]) -> dict[str, int]:
    """Count in a dataflow of one worker in this process: decode, key by client, and count with state that can be recovered."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    counted: list[tuple[str, int]] = []

    def count(state: int | None, _: dict[str, Any]) -> tuple[int, int]:
        state = (state or 0) + 1
        return state, state

    flow = Dataflow("count")
    stream = op.input("log", flow, TestingSource(lines, batch_size=BATCH))
    events = op.map("decode", stream, orjson.loads)
    keyed = op.key_on("client", events, lambda event: str(event["client"]["id"]))
    op.output("out", op.stateful_map("count", keyed, count), TestingSink(counted))
    run_main(flow)
    return dict(counted)


def with_quixstreams(broker: str, topic: str, events: int) -> dict[str, int]:
    """Count from a topic with state on disk and in a changelog, and write each count to another topic, as it is made for."""
    from quixstreams import Application

    counted: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=broker,
            consumer_group=uuid.uuid4().hex,
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="ERROR",
        )
        stream = app.dataframe(app.topic(topic, value_deserializer="json"))

        def count(event: dict[str, Any], state: Any) -> int:
            client = event["client"]["id"]
            counted[client] = state.get("n", 0) + 1
            state.set("n", counted[client])
            return counted[client]

        stream.apply(count, stateful=True).to_topic(app.topic(f"{topic}-counts", value_serializer="json"))
        app.run(count=events)
    return counted


def with_consumer(broker: str, topic: str, events: int) -> dict[str, int]:
    """Count from a topic in a plain loop over librdkafka: what any processor on this client pays at least."""
    from confluent_kafka import Consumer

    counted: dict[str, int] = {}
    consumer = Consumer({"bootstrap.servers": broker, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    taken = 0
    while taken < events:
        for record in consumer.consume(BATCH, 1.0):
            if record.error():
                raise SystemExit(f"the broker said: {record.error()}")
            client = orjson.loads(record.value() or b"")["client"]["id"]
            counted[client] = counted.get(client, 0) + 1
            taken += 1
    consumer.close()
    return counted


def fill(broker: str, lines: list[bytes]) -> str:
    """Write the log to a new topic of one partition, keyed by client, and return its name."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    topic = f"counting-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 5, "queue.buffering.max.messages": len(lines) + 1})
    for line in lines:
        producer.produce(topic, line, key=orjson.loads(line)["client"]["id"])
        producer.poll(0)
    if producer.flush(120):
        raise SystemExit(f"the broker at {broker} did not take the log within 120 s")
    return topic


def main(arguments: list[str]) -> int:
    """Count with one processor and print what was counted."""
    parser = argparse.ArgumentParser(description="count the queries of each client with another stream processor")
    parser.add_argument("processor", choices=("bytewax", "quixstreams", "consume"))
    parser.add_argument("log", type=Path, help="native events, one a line")
    parser.add_argument("--broker", help="address of a Kafka broker, for all but bytewax")
    options = parser.parse_args(arguments)
    lines = options.log.read_bytes().splitlines()
    logging.disable(logging.WARNING)
    if options.processor == "bytewax":
        started = time.process_time()
        counted = with_bytewax(lines)
    else:
        if not options.broker:
            parser.error(f"{options.processor} needs --broker")
        work: Callable[[str, str, int], dict[str, int]] = (
            with_quixstreams if options.processor == "quixstreams" else with_consumer
        )
        topic = fill(options.broker, lines)
        started = time.process_time()
        counted = work(options.broker, topic, len(lines))
    print(json.dumps({"events": len(lines), "cpu_s": time.process_time() - started, "counts": counted}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
