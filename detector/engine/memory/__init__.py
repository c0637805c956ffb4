"""What is kept of a client: admission of events, the retained queries, their checksums, and the pass over a batch."""
