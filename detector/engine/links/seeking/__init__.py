"""Seeking: the store of a model's latest queries, and the compiled search of what a new one was made from."""
