"""What a request gets: decision, ceiling, throttle, and what happens when nobody knows."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from detector.clock import HeldClock
from detector.config import GateSection
from detector.gate.buckets import Buckets
from detector.gate.identity import Identity, Member
from detector.gate.judge import Judge, Judged, Question
from detector.gate.shelf import Shelf
from tests.gate.decisions import NOW_MS, value

URI = "/v1/models/fraud:predict"


class Bench:
    """A judge whose time stands still until it is moved."""

    def __init__(self, *values: bytes, members: dict[str, Member] | None = None, known: bool = True, **settings: Any) -> None:
        self.now_s = 100.0
        self.shelf = Shelf()
        self.clock = HeldClock(NOW_MS)
        for each in values:
            assert self.shelf.take(self.shelf.store, None, each, NOW_MS)
        self.shelf.answers = known
        section = GateSection(**settings)
        self.judge = Judge(section, self.shelf, Identity(section, members), self.clock, lambda: self.now_s)

    def ask(self, *clients: str, uri: str | None = URI, **headers: Sequence[bytes]) -> Judged:
        return self.judge.judge(Question([client.encode() for client in clients], uri, **headers))

    def said(self, *clients: str, **options: Any) -> tuple[str, int, str]:
        verdict = self.ask(*clients, **options).verdict
        return verdict.action, verdict.status, verdict.cause


def test_each_action() -> None:
    bench = Bench(*(value(action, action) for action in ("allow", "alert", "throttle", "perturb", "block")))
    assert bench.said("allow") == ("allow", 200, "decision")
    assert bench.said("alert") == ("alert", 200, "decision")
    assert bench.said("throttle") == ("throttle", 200, "decision")
    assert bench.said("perturb") == ("perturb", 200, "decision")
    assert bench.said("block") == ("block", 403, "decision")
    assert bench.said("other") == ("allow", 200, "none")
    assert len(bench.judge.matched) == 5


def test_a_throttle_lets_ten_seconds_of_its_rate_through_then_its_rate() -> None:
    bench = Bench(value(action="throttle", rate=60))
    statuses = [bench.ask("acme").verdict for _ in range(11)]
    assert [verdict.status for verdict in statuses] == [200] * 10 + [429]
    assert statuses[-1].retry_after == 1
    bench.now_s += 1.0
    assert [bench.ask("acme").verdict.status for _ in range(2)] == [200, 429]


def test_a_throttle_is_divided_among_replicas_and_lets_one_through_at_least() -> None:
    bench = Bench(value(action="throttle", rate=6, retry_after=30), replicas=2)
    assert bench.said("acme")[1] == 200
    refused = bench.ask("acme").verdict
    assert (refused.status, refused.retry_after) == (429, 30)


def test_a_rate_of_zero_lets_nothing_through() -> None:
    verdict = Bench(value(action="throttle", rate=0)).ask("acme").verdict
    assert (verdict.status, verdict.retry_after) == (429, 60)


@pytest.mark.parametrize("name", ["requests_per_minute", "retry_after_seconds", "status_code"])
@pytest.mark.parametrize("number", [10**400, -(10**400), -1])
def test_parameters_beyond_all_bounds_do_not_raise(name: str, number: int) -> None:
    record = json.loads(value(action="throttle", rate=0))
    record["parameters"][name] = number
    bench = Bench(json.dumps(record).encode())
    assert bench.ask("acme").verdict.retry_after <= 1_000_000_000


def test_a_status_for_blocks_that_reads_as_a_fault_of_the_gate_is_not_taken() -> None:
    assert Bench(value(status=451)).said("acme")[1] == 451
    assert Bench(value(status=503)).said("acme")[1] == 403


def test_without_a_model_the_hardest_decision_of_the_client_counts() -> None:
    bench = Bench(value(models=("a",)), value(models=("b",), action="alert", revision=2))
    assert bench.said("acme", uri="/predict")[0] == "block"
    assert bench.said("acme", uri="/v1/models/b:predict")[0] == "alert"
    assert bench.said("acme", uri="/v1/models/b/../a:predict")[0] == "block"
    assert bench.said("acme", uri=None)[0] == "block"


def test_a_header_names_the_model() -> None:
    bench = Bench(value(models=("a",)), model_header="X-Model")
    assert bench.said("acme", model=[b"b"])[0] == "allow"
    assert bench.said("acme", model=[b"a"])[0] == "block"
    assert bench.said("acme", model=[b"b", b"b"])[0] == "block"
    assert bench.said("acme")[0] == "block"


def test_a_header_that_is_missing_or_there_twice_gets_the_configured_answer() -> None:
    bench = Bench(value())
    assert bench.said() == ("allow", 200, "no_identity")
    assert bench.said(" ") == ("allow", 200, "no_identity")
    assert bench.said("acme", "other") == ("allow", 400, "repeated_identity")
    strict = Bench(missing_identity="refuse", repeated_identity="allow")
    assert strict.said() == ("allow", 401, "no_identity")
    assert strict.said("acme", "acme") == ("allow", 200, "repeated_identity")


def test_a_credential_that_the_mapping_lacks_has_no_client(tmp_path: Any) -> None:
    members = {"key": Member("acme", "org", ("ring",))}
    settings = {"identity": "mapping", "mapping_file": tmp_path / "m", "missing_identity": "refuse"}
    bench = Bench(value("ring", kind="campaign", models=None), members=members, **settings)
    assert bench.said("key")[0] == "block"
    assert bench.said("other") == ("allow", 401, "unknown_identity")


def test_organisation_and_address_come_from_their_headers() -> None:
    bench = Bench(value("org", kind="organization", models=None), value("eve", address="192.0.2.7"))
    assert bench.said("x", organization=[b"org"])[0] == "block"
    assert bench.said("x")[0] == "allow"
    assert bench.said("eve", address=[b"192.0.2.7:4711"])[0] == "block"
    assert bench.said("eve", address=[b"192.0.2.8"])[0] == "allow"
    unknown = Bench(value("eve", address="unknown"))
    assert unknown.said("eve")[0] == "block", "detection did not know the address either"
    assert unknown.said("eve", address=[b"192.0.2.7"])[0] == "allow"


def test_before_decisions_are_known_it_fails_open_or_closed() -> None:
    assert Bench(known=False).said("acme") == ("allow", 200, "unready")
    closed = Bench(known=False, unready="refuse").ask("acme").verdict
    assert (closed.status, closed.retry_after, closed.cause) == (429, 1, "unready")


def test_the_canary_is_blocked_whatever_is_known() -> None:
    assert Bench(known=False).said("detector-canary") == ("block", 403, "canary")


def test_simulated_decisions_pass_and_are_told() -> None:
    judged = Bench(value(simulated=True)).ask("acme")
    assert (judged.verdict.action, judged.simulated) == ("allow", "block")


def test_it_expires_by_the_gates_own_clock() -> None:
    bench = Bench(value(expires_ms=NOW_MS + 10))
    assert bench.said("acme")[0] == "block"
    bench.clock.at_ms += 10
    assert bench.said("acme")[0] == "allow"


def test_the_ceiling_holds_for_everybody_by_client_and_model() -> None:
    bench = Bench(requests_per_second=2.0)
    assert [bench.said("acme")[2] for _ in range(3)] == ["none", "none", "ceiling"]
    assert bench.said("acme", uri="/v1/models/other:predict")[2] == "none"
    assert bench.said("b")[2] == "none"
    bench.now_s += 0.5
    assert [bench.said("acme")[1] for _ in range(2)] == [200, 429]


def test_the_ceiling_of_a_model_holds_for_all_and_refused_requests_take_nothing_of_it() -> None:
    bench = Bench(value("blocked"), requests_per_second=1.0, model_requests_per_second=3.0)
    assert [bench.said("blocked")[2] for _ in range(9)] == ["decision"] * 9
    assert [bench.said("a")[2] for _ in range(9)] == ["none"] + ["ceiling"] * 8
    assert [bench.said(client)[2] for client in "bcd"] == ["none", "none", "model_ceiling"]


def test_a_throttled_client_who_goes_on_asking_takes_nothing_of_the_ceiling_of_a_model() -> None:
    bench = Bench(value("thief", "throttle", rate=0), model_requests_per_second=2)
    assert {bench.said("thief") for _ in range(10)} == {("throttle", 429, "decision")}
    assert [bench.said("other")[1] for _ in range(3)] == [200, 200, 429]


def test_the_ceiling_is_divided_among_replicas() -> None:
    bench = Bench(requests_per_second=4.0, replicas=2)
    assert [bench.said("acme")[1] for _ in range(3)] == [200, 200, 429]


def test_callers_who_make_up_clients_do_not_fill_the_memory() -> None:
    buckets = Buckets()
    for number in range(100_000):
        assert buckets.take(str(number), 10.0, 1.0, number * 0.001) == pytest.approx(0.0)
    assert len(buckets) < 20_001
