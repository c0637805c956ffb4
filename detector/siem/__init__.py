"""Alerts and decisions in the formats of security products, and on their way to them."""
