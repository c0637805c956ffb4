"""What is kept of a client: which events count, the retained queries, checksums of changes, and the pass over a batch."""
