"""Catches model extraction from the prediction log, while the theft is still cheap to stop."""
