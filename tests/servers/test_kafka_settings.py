"""What a local broker is told."""

import pytest

from tests.servers.kafka_settings import check_users, scram_options, server_properties

PORTS = {"PLAINTEXT": 20001, "CONTROLLER": 20002, "SASL_SSL": 20003}


def _read(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_nothing_listens_beyond_this_machine() -> None:
    """Every listener is bound to 127.0.0.1."""
    listeners = _read(server_properties(PORTS, {"ann": "1"}, {}))["listeners"].split(",")
    assert [listener.split("://")[1].split(":")[0] for listener in listeners] == ["127.0.0.1"] * 3


def test_users_are_known_to_both_mechanisms() -> None:
    """PLAIN reads the settings, SCRAM the storage."""
    users = {"ann": "one", "bob": "two"}
    plain = _read(server_properties(PORTS, users, {}))["listener.name.sasl_ssl.plain.sasl.jaas.config"]
    assert plain.endswith('required user_ann="one" user_bob="two";')
    assert scram_options(users)[1::2] == ["SCRAM-SHA-512=[name=ann,password=one]", "SCRAM-SHA-512=[name=bob,password=two]"]


def test_own_settings_go_over_ours() -> None:
    """Tests may ask for limits and policies of their own."""
    assert _read(server_properties(PORTS, {}, {"auto.create.topics.enable": "true"}))["auto.create.topics.enable"] == "true"


@pytest.mark.parametrize("users", [{"a b": "x"}, {"a": 'x"'}, {"a": "x]"}, {"a": ""}])
def test_users_that_would_need_quoting_are_refused(users: dict[str, str]) -> None:
    """Three syntaxes meet in a name; refusing is safer than escaping."""
    with pytest.raises(ValueError, match="letters, digits"):
        check_users(users)
