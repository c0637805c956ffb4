"""Alerts and decisions on their way out: rendered in the formats of security products and delivered to receivers."""
