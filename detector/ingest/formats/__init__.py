"""Formats of prediction logs, one a file."""
