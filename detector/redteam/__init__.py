"""Simulated clients: thieves, innocents, and the model they ask.

A detector is only as good as the traffic it was judged on. Here a client is a *conversation*: a generator that yields a
`Query`, is sent the victim's answer, and decides from it what to ask next. Attacks and innocent profiles have the same
shape, so the same code plays both, and neither knows how its queries will be logged, mixed or timed.

- `conversation`: the shape, and `converse`, which plays one client against a model
- `registry`: every attack and every profile, by permanent id
- `benign`, and one module for each family of attacks
- `arrivals`: when the queries come
- `victim`: a small model to steal, with disjoint pools of pictures
- `copy`: how good a copy the client could train on what it was told
"""
