"""Logs as real servers write them, of innocents and thieves who ask with tables, pictures and prompts."""
