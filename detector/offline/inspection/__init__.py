"""What a log holds, before anything is configured: its format, its clients, what is refused, and what to do about it."""
