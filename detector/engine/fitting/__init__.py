"""How the models are fitted: on benign traffic for a baseline, or on the first queries of a model without one.

A shard imports this package when it first fits a model. A process that only scores so never loads scikit-learn's fitters, which
takes a second.
"""
