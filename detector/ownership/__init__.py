"""Ownership: whether a suspect was copied from what clients of this model were told, by the prediction log.

`commit` decides about the marks before the first one is made, `verify` tests a suspect, `package` hands the evidence on. The
answers are marked in `detector.perturb`. See the page on ownership for what a p-value says, and what washes a mark out.
"""
