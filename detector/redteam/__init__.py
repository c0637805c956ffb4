"""Simulated clients: thieves, innocents, and the model they ask.

A detector is only as good as the traffic it was judged on. Here a client is a *conversation*: a generator that yields a
`Query`, is sent the victim's answer, and decides from it what to ask next. Attacks and innocent profiles have the same
shape, so the same code plays both, and neither knows how its queries will be logged, mixed or timed.

- `conversation`: the shape, and `converse`, which plays one client against a model
- `attacks`, `profiles`: one module for each family; a decorator (`entries`) beside the function makes it known
- `registry`: every attack and every profile by permanent id
- `setting`: what a client begins with, the one argument of all of them
- `space`: where queries may lie: a value range, or the `columns` of a table
- `evasion`, `accounts`: how thieves hide and share the work
- `design_aware`, `price`: thieves who know this design, and what hiding costs them
- `arrivals`: when the queries come
- `victim`, `loans`, `targets`, `endpoint`: models to steal, here or behind HTTP
- `network`, `linear`: copies that a thief can train or compute
- `copy`: how good a copy the client could train on the responses
- `play`: many clients against one model in simulated time, as the log that its server would write
- `wire`: what queries and answers become on their way
- `sessions`, `cast`: who plays, for `detector redteam run` and for the demo
"""
