"""Published detectors, kept exactly as published, to be measured on the same logs as our own.

A comparison is worth something only if the other side plays at full strength. Nothing here is tuned, repaired or shared
with the service: the modules do what their source does, including what looks like an oversight, and say where they cannot.
"""
