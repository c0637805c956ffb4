"""The audit: what a prediction log, with the decisions of its time, proves about how a model is governed.

It finds what records show, and nothing else: a check whose columns are missing says so, and never that all is well. One
check is one file in `checks`, and one line in `registry`.

Memory is bounded whatever the log holds. Totals are exact; figures about single clients are of the clients seen last where
there are more than `table.MOST_KEYS`, and the report says so.
"""
