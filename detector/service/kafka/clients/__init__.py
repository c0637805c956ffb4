"""The two Kafka clients behind one interface: librdkafka (confluent-kafka), and kafka-python.

The stages know `protocol` alone. `kafka_python`, `confluent_reader` and `confluent_writer` implement it, and `faults` turns
what the clients raise into errors of our own.
"""
