"""Client state in Kafka: checkpoints, its encoding, the store in the state topic, and the restore by a new owner."""
