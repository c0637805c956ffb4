"""From the bytes of a prediction log to columns of events, and the records that could not be used.

`source` reads (with `unpack` and `lines`), a decoder of `formats` decodes one record, `assemble` makes a `Batch` of many.
"""
