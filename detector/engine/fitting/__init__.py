"""How the models are fitted: on benign traffic for a baseline, or on the first queries of a model without one.

A shard loads this on first need. Whoever only scores goes without scikit-learn, which takes a second to load.
"""
