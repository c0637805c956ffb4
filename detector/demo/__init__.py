"""The demo: a model is served, thieves and innocents query it, and the real pipeline watches the log as it grows."""
