"""Whose evidence a query adds to: keys that nobody can confuse, and victims who are not met by what forgers do."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detector.config import Config
from detector.config.detection import EngineSection, PolicySection
from detector.contracts.network import network_of
from detector.engine.account import Account, account_key, account_of
from detector.ingest.batch import Sender
from detector.testing import MemorySink, traffic, watch

ids = st.text(min_size=1, max_size=12) | st.sampled_from(["\0", "\0=a", "\x001:ab", "=a", "1:ab", "a"])
addresses = st.none() | st.text(min_size=1, max_size=6) | st.ip_addresses().map(str)


@given(ids, addresses, st.booleans())
def test_a_key_gives_its_account_back(client: str, address: str | None, vouched: bool) -> None:
    """Whatever the id holds."""
    key = account_key(client, Sender(ip=address), vouched=vouched)
    assert account_of(key) == Account(client, None if vouched else network_of(address))
    assert not vouched or client.startswith("\0") or key == client


def forged(lines: list[bytes], changes: dict[str, dict[str, Any]]) -> list[bytes]:
    """Return the lines with the client object of some clients replaced."""
    records = [json.loads(line) for line in lines]
    for record in records:
        record["client"] = changes.get(record["client"]["id"], {"id": record["client"]["id"]})
    return [json.dumps(record).encode() for record in records]


def live(*, trust: bool) -> Config:
    return Config(policy=PolicySection(shadow=False, trust_clients=trust), engine=EngineSection(seed=5))


def actions(seen: MemorySink) -> dict[tuple[str, str | None], set[str]]:
    found: dict[tuple[str, str | None], set[str]] = {}
    for decision in seen.decided:
        found.setdefault((decision.subject.id, decision.subject.address), set()).add(decision.action)
    return found


def test_a_forger_gets_nobody_stopped() -> None:
    """Queries of an attack under somebody else's name throttle what comes from the forger's address, and nothing else."""
    lines = traffic(innocents=4, thieves=1, queries=250)
    stolen = forged(
        lines,
        {
            "client-0": {"id": "victim", "ip": "192.0.2.1", "trusted": False},
            "thief-0": {"id": "victim", "ip": "198.51.100.9", "trusted": False},
        },
    )
    seen = watch(stolen, live(trust=True))
    assert actions(seen) == {("victim", "198.51.100.9"): {"throttle"}}
    assert {decision.key for decision in seen.decided} == {"client:victim:model*198.51.100.9"}
    levels = {(line["client"], line.get("address")): line["level"] for line in seen.reported}
    assert levels["victim", "192.0.2.1"] == "allow"
    assert levels["victim", "198.51.100.9"] == "throttle"


def test_the_policy_says_whom_to_trust_where_records_do_not() -> None:
    """With trust a thief is stopped; without it is throttled at most, and its subject is name and address."""
    lines = forged(traffic(), {})
    assert actions(watch(lines, live(trust=True))) == {("thief-0", None): {"perturb", "block"}}
    assert actions(watch(lines, live(trust=False))) == {("thief-0", "unknown"): {"throttle"}}


def test_whoever_is_vouched_for_is_another_than_whoever_is_not() -> None:
    """Half of a thief's queries under a vouched identity do not join the others."""
    lines = traffic(innocents=4, thieves=2, queries=200)
    told = forged(
        lines, {"thief-0": {"id": "x", "trusted": True}, "thief-1": {"id": "x", "trusted": False, "ip": "2001:db8::1"}}
    )
    found = actions(watch(told, live(trust=True)))
    assert found == {("x", None): {"perturb", "block"}, ("x", "2001:db8::/64"): {"throttle"}}
