"""The drill: real attacks on a staging endpoint, and whether what should stop them did, and when.

Thieves of the red team ask a deployment as clients with logins of their own, beside innocents. What arrives is watched where
people and gateways would see it: alerts, decisions, and what the thieves are told.
"""
