"""How the models are fitted: on benign traffic for a baseline, or on the first queries of a model without one.

A shard loads this on first need. Whoever only scores goes without scikit-learn's fitters, which take a second to load.
"""
