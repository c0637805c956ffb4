"""Evidence per query: that it was made from earlier queries or answers, chosen by them, of a foreign kind, or made up.

One channel a file; `memory.single` adds to `probe`. A channel says per query how strongly it looks constructed, knows how often
innocent and hostile queries look so, and has a floor below which its evidence never stops a client. `registry` lists them all,
and `accumulate` adds the channels up per client.
"""
