"""Kafka for both stages: connections, topics, transactions, the producer and the members of a group."""
