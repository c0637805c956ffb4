"""The models that score a client: the reference of the input space, novelty, online trees, co-occurrence and drift."""
