"""Evidence per query: it was made from earlier queries or answers, chosen by them, of a foreign kind, or made up.

Each channel has one file; `memory.single` adds to `probe`. A channel judges how strongly a query looks constructed. It knows
how often innocent and hostile queries look so, and it has a floor below which its evidence never stops a client. `registry`
lists all channels, and `accumulate` adds up their evidence per client.
"""
