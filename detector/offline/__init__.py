"""Recorded logs through the engine of the service: replay, traces, explanations, pictures and tables for notebooks."""
