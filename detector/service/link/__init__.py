"""The search for links between accounts on Kafka: sketches of all partitions in, alerts and decisions about campaigns out."""
