"""Recommenders: models that answer with rankings, their thieves and their honest users, and what defends them.

A client asks with a history of items and is told the items that come next, the best first. Nothing of `detector.redteam` that
takes vectors and probabilities applies, so this room has its own clients, copies and defences:

=================  ================================================================
`users`            simulated users, and the histories that everybody begins with
`recommender`      the model: embeddings and positions, softmax over the catalogue
`clients`          attacks and benign habits, as conversations
`copies`           the thief's copy, agreement at 10, what honest users are worth
`defences`         fewer items, keyed swaps
`gradient_based`   gradient-based ranking optimisation
`served`           the model over HTTP
`measured`         the table: defence x attack x budget
`log`              the same clients as a prediction log
=================  ================================================================
"""
