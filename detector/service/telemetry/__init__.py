"""Telemetry of a worker: metrics, health over HTTP, logs."""
