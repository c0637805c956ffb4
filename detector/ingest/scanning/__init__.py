"""Native records scanned in one compiled pass, straight into columns.

The scanner reads the part of the native format that nearly every record keeps to, and there it agrees with the reference to the
last bit. Whatever else a record holds is not judged here: the record is left, and decoded as if there were no scanner. `cells`
says what is written of a record, `record` what is read, `scan` is the one entry.

All modules work on addresses. Records are followed by a zero byte, at which every loop stops, since no JSON holds one; behind
the last there are `PADDING` of them, since eight bytes are read at a time.
"""
