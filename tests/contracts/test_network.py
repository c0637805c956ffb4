"""How addresses are spelled."""

from ipaddress import IPv6Address, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from detector.contracts.network import network_of


@given(st.ip_addresses(v=4).map(str), st.integers(0, 65_535))
def test_an_ipv4_address_has_one_spelling(address: str, port: int) -> None:
    """With a port, and as IPv6 has it."""
    assert {network_of(text) for text in (address, f" {address}:{port}", f"::ffff:{address}", f"[::ffff:{address}]:1")} == {
        address
    }


@given(st.ip_addresses(v=6).map(str), st.integers(0, 65_535))
def test_an_ipv6_address_is_its_network(address: str, port: int) -> None:
    """Its owner chooses the last 64 bits."""
    found = network_of(f"[{address}]:{port}")
    assert found == network_of(address)
    mapped = IPv6Address(address).ipv4_mapped
    assert found == str(mapped) if mapped else ip_address(address) in ip_network(found)


@given(st.text(max_size=20))
def test_any_text_has_a_spelling_that_stays(text: str) -> None:
    """So a decision that is bound to one meets it again; text that is no address is one place."""
    found = network_of(text)
    assert found == "unknown" or network_of(found.removesuffix("/64")) == found
