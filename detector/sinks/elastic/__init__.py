"""Alerts and decisions in Elasticsearch: documents, the way there, and what has to be installed for them.

Three data streams, ``<ns>`` being the configured namespace: ``logs-detector.alert-<ns>`` and ``logs-detector.decision-<ns>``
hold one document per alert and decision, ``metrics-detector.client-<ns>`` the client's figures as they stood at each alert,
with types that can be drawn.
"""
