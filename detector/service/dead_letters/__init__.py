"""Dead-letter records on Kafka: listed, and sent back once their cause is fixed."""
