"""What holds for a client and a model: order, revisions, expiry, and manual against detector."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts.decision import LADDER, Action, Member, rank
from detector.gate.packing import Details, DetailsTable, expires_of, pack, revision_of
from detector.gate.records import Key, read_key, read_value
from detector.gate.store import KEPT_MS, SHRINK_AT, Store, Who
from tests.gate.decisions import HOUR_MS, NOW_MS, decision, value

ACME = Who("acme")
ACTIONS = st.sampled_from(LADDER)


def put(store: Store, *args: Any, **changes: Any) -> bool:
    record = read_value(value(*args, **changes))
    assert record is not None
    return store.set(record, NOW_MS)


def stored(*changes: dict[str, Any]) -> Store:
    store = Store()
    for change in changes:
        put(store, **change)
    return store


def action(store: Store, who: Who = ACME, model: str | None = "fraud", now_ms: int = NOW_MS, path: str | None = "/") -> str:
    return LADDER[store.find(who, model, now_ms, path).rank]


@given(st.permutations([(revision, act) for revision, act in enumerate(LADDER, 1)]))
def test_in_whatever_order_records_come_the_greatest_revision_holds(records: list[tuple[int, Action]]) -> None:
    store = stored(*({"action": act, "revision": revision} for revision, act in records))
    assert action(store) == "block"
    assert set(store.revisions().values()) == {5}


@given(st.lists(st.tuples(st.integers(1, 6), ACTIONS), max_size=12))
def test_records_that_come_again_change_nothing(records: list[tuple[int, Action]]) -> None:
    changes = [{"action": act, "revision": revision} for revision, act in records]
    once, twice = stored(*changes), stored(*changes, *changes)
    assert once.revisions() == twice.revisions()
    assert once.find(ACME, "fraud", NOW_MS) == twice.find(ACME, "fraud", NOW_MS)


@given(ACTIONS, ACTIONS, st.booleans())
def test_a_later_decision_of_the_detector_may_raise_a_manual_one_and_not_lift_it(
    by_hand: Action, by_detector: Action, same_key: bool
) -> None:
    manual = {"action": by_hand, "origin": "manual", "revision": 1}
    store = stored(manual, {"action": by_detector, "revision": 2, "models": ("fraud",) if same_key else None})
    expected = "allow" if by_hand == "allow" else LADDER[max(rank(by_hand), rank(by_detector))]
    assert action(store) == expected


@given(st.lists(st.tuples(st.sampled_from(["detector", "import", "manual"]), ACTIONS, st.booleans()), max_size=8))
def test_what_holds_is_the_hardest_from_the_highest_origin_that_allows(entries: list[tuple[Any, Action, bool]]) -> None:
    precedence = {"detector": 0, "import": 1, "manual": 2}
    store = stored(
        *(
            {"origin": origin, "action": act, "models": None if wide else ("fraud",), "revision": number}
            for number, (origin, act, wide) in enumerate(entries, 1)
        )
    )
    held = {(origin, wide): act for origin, act, wide in entries}
    least = max((precedence[origin] for (origin, _), act in held.items() if act == "allow"), default=0)
    counted = [rank(act) for (origin, _), act in held.items() if precedence[origin] >= least]
    assert action(store) == LADDER[max(counted, default=0)]


def test_when_a_manual_allow_ends_what_the_detector_said_holds_again() -> None:
    lift = {"action": "allow", "origin": "manual", "revision": 2, "expires_ms": NOW_MS + 1000}
    store = stored({}, lift)
    assert action(store) == "allow"
    assert action(store, now_ms=NOW_MS + 1000) == "block"


def test_each_origin_has_revisions_of_its_own() -> None:
    store = stored({"revision": 5, "action": "alert"}, {"action": "throttle", "origin": "manual", "revision": 2})
    assert action(store) == "throttle"
    assert put(store, action="block", revision=6)
    assert not put(store, action="block", revision=2, origin="manual")
    assert action(store) == "block"


@given(st.integers(-2 * HOUR_MS, 2 * HOUR_MS), st.integers(-HOUR_MS, 2 * HOUR_MS))
def test_a_decision_holds_until_it_expires_by_the_gates_clock(expires: int, now: int) -> None:
    store = stored({"expires_ms": NOW_MS + expires})
    assert action(store, now_ms=NOW_MS + now) == ("block" if expires > now else "allow")


def test_without_an_expiry_it_holds() -> None:
    store = stored({"expires_ms": None, "origin": "manual"})
    assert action(store, now_ms=NOW_MS + 1000 * 24 * HOUR_MS) == "block"


@given(st.lists(st.tuples(st.sampled_from(["fraud", "other", None]), ACTIONS), max_size=6))
def test_the_hardest_of_what_meets_a_request_holds(entries: list[tuple[str | None, Action]]) -> None:
    store = stored(
        *(
            {"action": act, "models": None if model is None else (model,), "revision": number}
            for number, (model, act) in enumerate(entries, 1)
        )
    )
    held = dict(entries)
    for model in ("fraud", "other", "third"):
        meeting = [rank(act) for name, act in held.items() if name in {model, None}]
        assert action(store, model=model) == LADDER[max(meeting, default=0)]
    assert action(store, model=None) == LADDER[max((rank(act) for act in held.values()), default=0)]


def test_other_clients_and_models_are_not_met() -> None:
    store = stored({})
    assert action(store, model="other") == "allow"
    assert action(store, Who("acm")) == "allow"
    assert action(store, Who("acme\0fraud")) == "allow"


def test_a_decision_for_several_models_has_revisions_of_its_own() -> None:
    store = stored({"models": ("a:b", "fraud"), "revision": 9}, {"models": ("fraud",), "revision": 2, "action": "alert"})
    assert action(store) == "block"
    assert action(store, model="a:b") == "block"
    assert action(store, model="c") == "allow"


def test_organisations_campaigns_addresses_and_other_names_of_a_client() -> None:
    kinds: list[Any] = ["organization", "campaign", "api_key", "user", "ip", "cidr"]
    for kind in kinds:
        subject = "192.0.2.0/24" if kind == "cidr" else "192.0.2.7" if kind == "ip" else "acme"
        store = stored({"client": subject, "kind": kind, "models": None})
        assert action(store, Who("acme", "acme", ("acme",), "192.0.2.7", "192.0.2.7")) == "block", kind
        met_by_name = kind in {"api_key", "user"}
        assert action(store, Who("acme")) == ("block" if met_by_name else "allow"), kind
        assert action(store, Who("z", "other", ("other",), "198.51.100.1", "198.51.100.1")) == "allow", kind
    assert action(stored({"client": "nonsense", "kind": "cidr", "models": None}), Who("a", address="x")) == "allow"


def test_a_person_keeps_a_campaign_blocked_beyond_the_detectors_decision() -> None:
    """Whoever decided names the accounts, and those that one decision drops are still those of another."""
    ring: dict[str, Any] = {"client": "campaign-0123456789ab", "kind": "campaign"}
    named, late = Member(id="acme"), Member(id="late", address="192.0.2.7")
    store = stored({**ring, "members": (named, late)})
    manual = {**ring, "origin": "manual", "expires_ms": None, "members": (named,)}
    put(store, **manual)
    put(store, **ring, revision=2, members=(late,))
    assert action(store) == "block"
    gone = NOW_MS + HOUR_MS + KEPT_MS + 1
    store.sweep(gone)
    assert action(store, now_ms=gone) == "block"
    assert action(store, Who("late", network="192.0.2.7"), now_ms=gone) == "allow"
    copy = Store()
    for origin, key, entry, details in store.dump():
        copy.load(origin, key, entry, details, store.members(origin, key))
    assert action(copy, now_ms=gone) == "block"
    assert copy.remove(Key(2, "campaign", "campaign-0123456789ab", "fraud"))
    assert action(copy, now_ms=gone) == "allow"


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.7:4711", "[::ffff:c000:207]:80"])
@pytest.mark.parametrize(("kind", "subject"), [("ip", "192.0.2.7"), ("cidr", "192.0.2.9/24"), ("cidr", "0.0.0.0/0")])
def test_an_address_is_met_in_each_of_its_spellings(kind: str, subject: str, address: str) -> None:
    store = stored({"client": "10.0.0.0/8", "kind": "cidr"}, {"client": subject, "kind": kind})
    assert action(store, Who("x", address=address)) == "block"
    assert action(store, Who("x", address="2001:db8::7")) == "allow"


def test_many_networks_and_models_are_read_and_met_in_time() -> None:
    store = Store()
    for number in range(3000):
        put(store, f"10.{number >> 8}.{number & 255}.0/24", kind="cidr", models=(f"m{number}",))
    began = time.perf_counter()
    for _ in range(100):
        assert action(store, Who("x", address="10.7.7.7"), model="m1799") == "block"
    assert time.perf_counter() - began < 1.0, "not one look-up for each network"


def test_a_decision_bound_to_an_address_meets_only_queries_from_there() -> None:
    for models in (("fraud",), None):
        store = stored({"address": "2001:db8::/64", "models": models})
        assert action(store, Who("acme", network="2001:db8::/64")) == "block"
        assert action(store, Who("acme", network="2001:db9::/64")) == "allow"
        assert action(store) == "allow"
        assert store.is_bound


def test_an_allow_for_one_model_is_none_for_a_request_whose_model_is_hidden() -> None:
    store = stored({"models": ("b",)}, {"models": ("a",), "action": "allow", "origin": "manual"})
    assert action(store, model="a") == "allow"
    assert action(store, model="b") == action(store, model=None) == "block"
    put(store, models=("a", "b"), action="allow", origin="manual")
    assert action(store, model=None) == "allow"
    put(store)
    assert action(store, model=None) == "block"
    put(store, models=None, action="allow", origin="manual")
    assert action(store, model=None) == "allow"


def test_routes_hold_where_the_path_is_hidden_unless_they_allow() -> None:
    routes = {"models": None, "routes": ("/admin",)}
    assert action(stored(routes), path=None) == "block"
    assert action(stored({}, {**routes, "action": "allow", "origin": "manual"}), path=None) == "block"


def test_routes_hold_for_paths_below_them() -> None:
    store = stored({"models": None, "routes": ("/v1/models",)})
    paths = {"/v1/models": "block", "/v1/models/fraud:predict": "block", "/v1/modelsx": "allow", "": "allow"}
    assert {path: action(store, path=path) for path in paths} == paths


def test_simulated_decisions_are_found_and_do_not_hold() -> None:
    found = stored({"simulated": True}).find(ACME, "fraud", NOW_MS)
    assert (found.rank, found.simulated) == (0, rank("block"))


def test_of_two_throttles_the_slower_holds() -> None:
    store = stored({"action": "throttle", "rate": 100}, {"action": "throttle", "rate": 5, "models": None})
    assert store.find(ACME, "fraud", NOW_MS).details.requests_per_minute == 5


def test_a_record_without_a_value_removes_the_decision_of_its_origin() -> None:
    for change in ({}, {"address": "192.0.2.7"}, {"client": "a:b:c", "models": ("x:y",)}, {"kind": "user", "models": None}):
        store = stored(change, {**change, "origin": "manual"}, {**change, "origin": "import"})
        end = decision(**change).key
        for left, origin in enumerate(("", "manual:", "import:")):
            key = read_key(f"{origin}{end}".encode())
            assert key is not None
            assert store.remove(key)
            assert not store.remove(key)
            assert len(store) == 2 - left


def test_a_sweep_counts_what_lives_and_forgets_what_expired_long_ago() -> None:
    store = stored({}, {"client": "b", "simulated": True}, {"client": "c", "expires_ms": NOW_MS + 1})
    assert store.sweep(NOW_MS + 2) == {"block": 1, "simulated": 1}
    assert len(store) == 3
    assert not put(store, client="c"), "an old record comes back"
    store.sweep(NOW_MS + KEPT_MS + 2)
    assert len(store) == 2
    assert put(store, client="old", expires_ms=NOW_MS - KEPT_MS - 1)
    assert len(store) == 2


@given(st.integers(0, 4), st.integers(0, (1 << 44) - 1), st.integers(1, 1 << 62), st.booleans())
def test_a_packed_decision_keeps_its_parts(place: int, expires_ms: int, revision: int, simulated: bool) -> None:
    entry = pack(place, expires_ms, revision, 5, simulated=simulated)
    assert (expires_of(entry), revision_of(entry)) == (expires_ms, revision)


def test_what_expired_decisions_have_left_behind_is_forgotten() -> None:
    """Models, networks and parameters come and go for years; what is held, and the memory, stays that of the live ones."""
    store, now_ms, extents = Store(), NOW_MS, []
    put(store, models=("kept",), rate=7, action="throttle", expires_ms=NOW_MS + 1000 * HOUR_MS)
    for generation in range(6):
        for number in range(SHRINK_AT):
            name = f"{generation}-{number}"
            network = f"10.{generation}.{number >> 8}.{number & 255}/32"
            record = value(network, "throttle", kind="cidr", models=(name, "other"), rate=1 + generation * SHRINK_AT + number)
            found = read_value(record)
            assert found is not None
            store.set(found._replace(expires_ms=now_ms + HOUR_MS), now_ms)
        assert store.find(Who("someone", address=network[:-3]), name, now_ms).details.requests_per_minute is not None
        now_ms += HOUR_MS + KEPT_MS + 1
        store.sweep(now_ms)
        extents.append(store.extent)
    assert len(store) == 1
    assert max(extents) <= SHRINK_AT + 3, "details of the last generation may go with the next one"
    assert store.find(Who("acme"), "kept", now_ms).details.requests_per_minute == 7


@pytest.mark.parametrize("kind", ["client", "organization"])
def test_a_model_whose_name_holds_a_separator_is_one_like_others(kind: Any) -> None:
    """Such a decision meets its requests, and is no obstacle to a sweep, also of a client that is named like a key."""
    store = stored(
        {"models": ("fraud\0x",), "expires_ms": None, "kind": kind}, {"client": "b", "origin": "manual", "action": "allow"}
    )
    who = Who("acme", "acme")
    for number in range(SHRINK_AT + 1):
        put(store, f"c{number}")
    for _ in range(2):
        assert action(store, who, "fraud\0x") == action(store, who, None) == "block"
        assert action(store, who, "x") == action(store, who, "fraud") == "allow"
        assert action(store, Who("acme\0fraud"), "x") == "allow"
        store.sweep(NOW_MS + HOUR_MS + KEPT_MS + 1)
    assert len(store) == 1


def test_an_allow_for_a_model_whose_name_holds_a_separator_is_one_for_no_other() -> None:
    store = stored({"models": ("x",)}, {"models": ("fraud\0x",), "action": "allow", "origin": "manual"})
    assert action(store, model=None) == "block"


def test_details_whose_number_came_into_use_again_are_kept_as_long_as_others() -> None:
    """A thread that reads may hold a decision with them when they go out of use."""
    table = DetailsTable()
    assert table.number(Details(1)) == 1
    table.keep(set())
    table.keep(set())
    assert table.number(Details(2)) == 1
    table.keep(set())
    assert table.number(Details(3)) == 2
    assert table.rows[1] == Details(2)
