"""A throttle whose rate falls with the odometer, from the log to what a gate lets through."""

from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts.document import to_json
from detector.testing import watch
from tests.engine.test_odometer import asks, begins_narrowly
from tests.gate.test_judge import Bench

MINUTE_S = 60
STEP_S = 0.01


def _passed(bench: Bench) -> int:
    """Return how many requests of the client pass in a minute, after what it may ask at once."""
    uri = "/v1/models/alpha:predict"
    while bench.ask("many", uri=uri).verdict.passes:
        pass
    passed = 0
    for _ in range(round(MINUTE_S / STEP_S)):
        bench.now_s += STEP_S
        passed += bench.ask("many", uri=uri).verdict.passes
    return passed


def test_a_gate_obeys_each_renewal(generated_baseline: Baseline) -> None:
    """What passes is the rate of the decision in force, which a later revision lowers."""
    config = Config.model_validate(
        {
            "policy": {"shadow": False, "trust_clients": True, "requests_per_minute": 3840, "throttle_minutes": 0.5},
            "odometer": {"degrade_at": 0.2, "throttle_halves_every": 0.1, "throttle_floor": 3},
        }
    )
    decided = watch(asks("many", 300, sender={"trusted": False}, span=begins_narrowly), config, generated_baseline).decided
    assert len(decided) > 2
    bench = Bench()
    found = []
    for decision in decided:
        assert decision.parameters is not None
        bench.clock.at_ms = decision.issued_ms
        assert bench.shelf.take(bench.shelf.store, None, to_json(decision), decision.issued_ms)
        rate = decision.parameters.requests_per_minute or 0
        assert abs(_passed(bench) - rate) <= 1
        found.append(rate)
    assert found[0] > found[-1]
