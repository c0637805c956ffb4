"""Which fields may say who asked."""

from typing import Any

import jmespath
import pytest

from detector.ingest.formats.call import Call, Payload
from detector.offline.inspection.fields import Fields, path_name, place_of


def candidates(*calls: Call) -> list[dict[str, str]]:
    fields = Fields()
    for call in calls:
        fields.note(call)
    return [candidate.rule() for candidate in fields.candidates()]


def call(at: int = 0, **parts: Any) -> Call:
    return Call(id=str(at), time=None, model="m", **parts)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda at: call(headers={"x-user": f"u{at % 3}"}), {"header": "x-user"}),
        (lambda at: call(document={"who": {"client id": at % 3}}), {"path": 'who."client id"'}),
        (lambda at: call(request=Payload(f'{{"user": "u{at % 3}"}}')), {"body": "user"}),
        (
            lambda at: call(document={"client_request_id": f"acme-{at % 3}:{at}"}),
            {"path": "client_request_id", "pattern": "^([^:/|#]+)"},
        ),
        (
            lambda at: call(document={"customAttributes": f"trace={at},client=c{at % 2}"}),
            {"path": "customAttributes", "pattern": "(?:^|[,; ])client=([^,; ]+)"},
        ),
        (
            lambda at: call(document={"customAttributes": [f"trace={at}", f"client=c{at % 2}"]}),
            {"path": "customAttributes", "pattern": "(?:^|[,; ])client=([^,; ]+)"},
        ),
    ],
)
def test_what_groups_the_calls(make: Any, rule: dict[str, str]) -> None:
    """A header, a field of the record or of the body; the part of a text that comes again."""
    assert candidates(*map(make, range(12)))[0] == rule


def test_what_is_no_client() -> None:
    """Ids of calls, secrets, agents, addresses, and what is in few calls only."""
    calls = [
        call(
            at,
            headers={"authorization": "Bearer x", "user-agent": "curl", "cookie": "user=a", "x-user-nonce": str(at)},
            document={"client_ip": "203.0.113.7", "rare_user": "a" if at == 0 else None, "amount": 3},
        )
        for at in range(12)
    ]
    assert candidates(*calls) == []


def test_many_fields_and_deep_ones_are_bounded() -> None:
    """A caller chooses the body."""
    deep: Any = {"user": "x"}
    for _ in range(500):
        deep = {"a": deep}
    wide = {f"user{number}": f"u{number}" for number in range(5000)}
    assert len(candidates(call(document=deep), call(document=wide), call(request=Payload("{")))) <= 200


def test_names_are_quoted_for_jmespath() -> None:
    """Quotes, backslashes and what acts on a terminal are escaped, and the name is still found."""
    odd = 'b"c\\d\x1b'
    assert path_name("a", odd) == 'a."b\\"c\\\\d\\u001b"'
    assert jmespath.search(path_name("a", odd), {"a": {odd: 1}}) == 1


def test_the_place_of_a_client() -> None:
    """In the words of a rule, where it is seen."""
    asked = call(headers={"x-a": "acme"}, document={"b": {"c": "globex"}})
    assert [place_of(asked, name) for name in ("acme", "globex", "nobody")] == ["header x-a", "path b.c", ""]
