"""Whom a person means."""

import pytest

from detector.decisions.target import kind_of
from detector.errors import ConfigError


@pytest.mark.parametrize("subject", ["campaign-3f2a", "campaign-0123456789a", "campaign-0"])
def test_the_beginning_of_a_campaigns_id_is_nobody(subject: str) -> None:
    """It would be a decision about a client of that name, which stops nobody; who is called so can be named as a client."""
    with pytest.raises(ConfigError, match="no whole id of a campaign"):
        kind_of(subject)
    assert kind_of(subject, "client") == "client"


@pytest.mark.parametrize(
    ("subject", "kind"),
    [("campaign-0123456789ab", "campaign"), ("campaign-spring", "client"), ("campaign-", "client"), ("acme", "client")],
)
def test_other_names_are_what_they_look_like(subject: str, kind: str) -> None:
    assert kind_of(subject) == kind
