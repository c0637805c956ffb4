"""The gate: answers a gateway's authorisation sub-requests from decisions held in memory, without input or output of its own.

It reads decisions from Kafka or a file in a thread and answers in one event loop. It learns nothing, scores nothing and stores
no request.
"""
