"""Real servers on this machine, for development and tests, with nothing but Python and package registries.

They are started without root and without containers, listen on 127.0.0.1 only, and are no way to run anything that matters:
one node, no replicas, a small heap.
"""
