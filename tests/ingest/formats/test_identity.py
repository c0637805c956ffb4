"""Who asked: rules in their order, and addresses behind proxies."""

from typing import Any

import pytest
from msgspec.structs import replace

from detector.config.ingest import IngestSection
from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.identity import Identity

CALL = Call(
    id="q1",
    time=None,
    model="m",
    request=Payload('{"user": "u-17", "instances": [[1]]}'),
    caller=Caller(id="key-1", type="api_key", trusted=True, organization="org"),
    headers={"x-consumer": " Acme ", "authorization": "Bearer sk-12345"},
    document={"account": {"id": 7}},
)


def found(*rules: dict[str, Any], call: Call = CALL) -> Caller:
    return Identity(IngestSection.model_validate({"clients": rules})).caller(call)


def test_without_rules_the_format_says() -> None:
    """Its own word about trust goes with it."""
    caller = found()
    assert (caller.id, caller.type, caller.trusted) == ("key-1", "api_key", True)


def test_the_first_rule_that_finds_a_text_decides() -> None:
    """A header that is not there is passed over; where none finds anything, the format says."""
    assert found({"header": "x-none"}, {"header": "X-CONSUMER", "trusted": True}, {"constant": "c"}).id == " Acme "
    assert found({"header": "x-none"}, {"constant": "c"}).id == "c"
    assert found({"header": "x-none"}).id == "key-1"


@pytest.mark.parametrize(
    ("rule", "client"),
    [
        ({"path": "account.id"}, "7"),
        ({"body": "user"}, "u-17"),
        ({"header": "x-consumer", "normalize": ["trim", "lower"]}, "acme"),
        ({"header": "authorization", "pattern": r"^Bearer (\S+)"}, "sk-12345"),
        ({"header": "authorization", "pattern": r"sk-\d+"}, "sk-12345"),
        ({"header": "authorization", "pattern": r"^Basic"}, "key-1"),
        ({"path": "account"}, "key-1"),
    ],
)
def test_rules(rule: dict[str, Any], client: str) -> None:
    """Where the text stands and what of it is the client; what is no text is passed over."""
    assert found(rule).id == client


def test_what_names_the_client() -> None:
    """The rule that found it, or a gateway's header; nothing where the format says it, or nobody does."""
    anonymous = replace(CALL, caller=Caller())
    gateway = replace(anonymous, headers={"x-consumer-id": "acme"})
    for rules, call, said in (
        ([{"header": "x-none"}, {"body": "user"}], CALL, "body user"),
        ([{"path": "account.id"}], anonymous, "path account.id"),
        ([], CALL, ""),
        ([], anonymous, ""),
        ([], gateway, "header x-consumer-id"),
    ):
        assert Identity(IngestSection.model_validate({"clients": rules})).source(call) == said


def test_trust_is_that_of_the_rule() -> None:
    """What the format said about its own client is not said about another one."""
    assert found({"body": "user"}).trusted is None
    assert found({"body": "user", "trusted": False, "type": "user"}).trusted is False
    assert found({"header": "x-consumer", "trusted": True}).organization == "org"


def test_composed_letters_are_one_client() -> None:
    """Unicode writes some letters in two ways."""
    calls = [Call("q", None, "m", headers={"x": text}) for text in ("caf\u00e9", "cafe\u0301")]
    assert len({found({"header": "x", "normalize": ["nfc"]}, call=call).id for call in calls}) == 1


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.4", "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7, 10.0.0.4, 10.0.0.5", "203.0.113.7"),
        ("10.0.0.9, 203.0.113.7, 10.0.0.4", "203.0.113.7"),
        ("2001:db8::7, fd00::1", "2001:db8::7"),
        ("fd00::9, 2001:db8::7, 10.0.0.4", "2001:db8::7"),
        ("10.0.0.9, 10.0.0.4", "10.0.0.9"),
        ("203.0.113.7, unknown", None),
        ("", None),
    ],
)
def test_the_address_is_the_last_that_is_no_proxy_of_ours(forwarded: str, address: str | None) -> None:
    """What stands before it is the caller's word, and may be forged."""
    section = IngestSection(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    caller = Identity(section).caller(Call("q", None, "m", headers={"x-forwarded-for": forwarded}))
    assert caller.ip == address


def test_without_trusted_proxies_the_last_address_is_the_client() -> None:
    """A forged beginning gains nothing."""
    call = Call("q", None, "m", headers={"x-forwarded-for": "198.51.100.9, 203.0.113.7"})
    assert found(call=call).ip == "203.0.113.7"


def test_headers_in_a_gateways_own_log_are_the_callers_word() -> None:
    """A gateway that names no consumer was asked by nobody that it knows, whatever the caller's headers say."""
    call = replace(CALL, caller=Caller(), headers={"x-consumer-username": "victim"})
    assert Identity(IngestSection()).caller(call).id == "victim"
    assert Identity(IngestSection()).caller(replace(call, at_gateway=True)).id is None
    rule = IngestSection.model_validate({"clients": [{"header": "X-Consumer-Username"}]})
    assert Identity(rule).caller(replace(call, at_gateway=True)).id == "victim"


@pytest.mark.parametrize("proxy", ["10.0.0.5:443", "::ffff:10.0.0.1", "[fd00::1]:80", "[fd00::1]", ""])
def test_a_proxy_is_one_of_ours_however_it_is_written(proxy: str) -> None:
    """With a port, in brackets, mapped into IPv6, or as an empty part."""
    section = IngestSection(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    call = replace(CALL, caller=Caller(id="key"), headers={"x-forwarded-for": f"198.51.100.9, {proxy}"})
    assert Identity(section).caller(call).ip == "198.51.100.9"


def test_an_unknown_address_is_none() -> None:
    call = replace(CALL, caller=Caller(id="key"), headers={"x-forwarded-for": "unknown"})
    assert Identity(IngestSection()).caller(call).ip is None
