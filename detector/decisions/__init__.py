"""Decisions as they stand: what is in force, how a person decides, and the trail of who did."""
