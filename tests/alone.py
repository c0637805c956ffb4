"""Alone: documents about one client, which are all that shards find without whoever sees the accounts of a model together."""

import json

from detector.engine.evidence.whole import CAMPAIGN


def about_one_client(document: bytes) -> bool:
    """Tell whether an alert or a decision, as JSON, is about one client and not about a campaign of many accounts."""
    found = json.loads(document)
    if "subject" in found:
        return bool(found["subject"]["type"] == "client")
    return bool(found["event"]["code"] != f"extraction.{CAMPAIGN.name}")
