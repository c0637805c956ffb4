"""Holdings of a fleet, and what budgets cost it."""

import json
import struct

import numpy as np
import pytest

from detector.baseline.store import Baseline
from detector.engine.odometer.reading import Reading
from detector.offline.odometer.budgets import costs
from detector.offline.odometer.survey import Fleet, Holding, probabilities, seed_of, survey
from detector.testing import Events, batches


def holding(kind: str, name: str, queries: int, met: int | None) -> Holding:
    return Holding(kind, name, queries, Reading(queries, 0.5, 0.5, 0.4, 0.6), {0.5: met})


def test_a_budget_costs_what_comes_after_it() -> None:
    """Clients count, organisations would count twice; nothing is divided by nothing."""
    fleet = Fleet(
        "m",
        0.5,
        256,
        0,
        0,
        0.0,
        (holding("client", "a", 100, 40), holding("client", "b", 60, None), holding("organization", "o", 160, 40)),
    )
    (cost,) = costs(fleet, (0.5,))
    assert (cost.clients, cost.clients_met, cost.queries, cost.queries_after) == (2, 1, 160, 60)
    assert (cost.clients_share, cost.queries_share) == (0.5, 0.375)
    (none,) = costs(Fleet("m", 0.5, 256, 0, 0, 0.0, ()), (0.5,))
    assert (none.clients_share, none.queries_share) == (0.0, 0.0)


def test_probabilities_are_unpacked() -> None:
    """As many as there are; too many to be read are none."""
    assert probabilities(struct.pack("2d", 0.25, 0.75)).tolist() == [0.25, 0.75]
    assert probabilities(b"").tolist() == []
    assert probabilities(bytes(8 * 200_000)).tolist() == []


def test_seeds_belong_to_names_and_to_the_secret() -> None:
    """Names that run together alike have other seeds."""
    assert seed_of(1, "ab", "c") == seed_of(1, "ab", "c")
    assert len({seed_of(1, "ab", "c"), seed_of(1, "a", "bc"), seed_of(2, "ab", "c")}) == 3


def test_inputs_that_cannot_be_reduced_are_counted(generated_baseline: Baseline) -> None:
    """Another length is no query of this model; a missing value is one in a table."""
    events = Events("alpha")
    lines = [events.line("a", [0.5] * 9, 1), events.line("a", [0.5] * 8, 1)]
    gap = events.line("a", [0.5] * 9, 1).replace(b"[0.5,", b"[null,", 1)
    (fleet,) = survey(batches([*lines, gap]), generated_baseline, (0.65,)).fleets
    assert fleet.unmeasured == 1
    assert [(held.id, held.queries, held.reading) for held in fleet.holdings] == [("a", 2, None)]


def learned_lines(client: str, events: Events, seed: int, queries: int) -> list[bytes]:
    """Return lines of a client that learns the model of `generated_baseline`."""
    rng = np.random.default_rng(seed)
    lines = []
    for x in rng.random((queries, 9)):
        chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - 4.5))))
        lines.append(events.line(client, x, int(chance > 0.5), probabilities=[1.0 - chance, chance]))
    return lines


def test_junk_afterwards_takes_no_lead_away(generated_baseline: Baseline) -> None:
    """The highest reading is shown, with the query at which it was taken."""
    events = Events("alpha")
    theft = learned_lines("thief", events, 3, 300)
    rng = np.random.default_rng(4)
    junk = [events.line("thief", 100.0 * x, int(rng.integers(2))) for x in rng.normal(size=(1500, 9))]
    (before,) = survey(batches(theft), generated_baseline, (0.3,)).fleets[0].holdings
    (after,) = survey(batches([*theft, *junk]), generated_baseline, (0.3,)).fleets[0].holdings
    assert before.reading is not None
    assert after.reading is not None
    assert after.reading.lead >= before.reading.lead > 0.5
    assert (after.queries, after.reading.queries < 400) == (1800, True)
    assert after.reached == before.reached


def test_labels_of_another_name_are_said(generated_baseline: Baseline) -> None:
    """A model whose labels were renamed since the fit is silent; one client alone cannot silence it."""
    events = Events("alpha")
    plain = [line for i in range(8) for line in learned_lines(f"client-{i}", events, i, 40)]

    def renamed(lines: list[bytes]) -> list[bytes]:
        read = [json.loads(line) for line in lines]
        return [
            json.dumps(one | {"output": one["output"] | {"label": f"new-{one['output']['label']}"}}).encode() for one in read
        ]

    found = survey(batches(renamed(plain)), generated_baseline, (0.65,))
    assert found.fleets == ()
    assert "labels are not those of the baseline: 100%" in found.silent["alpha"]
    odd = renamed(learned_lines("odd", events, 99, 400))
    (fleet,) = survey(batches([*plain, *odd]), generated_baseline, (0.65,)).fleets
    assert len(fleet.holdings) == 9
    assert fleet.unknown_labels == pytest.approx(1 / 9)


@pytest.mark.parametrize("values", [8, 10])
def test_a_model_that_nobody_can_be_measured_of_is_silent(generated_baseline: Baseline, values: int) -> None:
    """Inputs that all have another length: the reason says which length is known."""
    events = Events("alpha")
    found = survey(batches([events.line("a", [0.5] * values, 1)]), generated_baseline, (0.65,))
    assert found.fleets == ()
    assert "none of its 1 queries could be measured: its baseline is of inputs with 9 values" in found.silent["alpha"]


def test_whoever_was_seen_longest_ago_is_given_up(generated_baseline: Baseline) -> None:
    """With more clients than there is room for; what was shown until then stays, and queries are still counted."""
    events = Events("alpha")
    first, later = learned_lines("first", events, 1, 100), learned_lines("first", events, 2, 100)
    others = [line for i in range(5) for line in learned_lines(f"client-{i}", events, 10 + i, 3)]
    (whole,) = survey(batches(first), generated_baseline, (0.3,)).fleets
    found = [batch for part in (first, others, later) for batch in batches(part)]
    (fleet,) = survey(found, generated_baseline, (0.3,), most=3).fleets
    assert fleet.given_up == 3
    (held,) = (held for held in fleet.holdings if held.id == "first")
    assert held.queries == 200
    assert (held.reading, held.reached) == (whole.holdings[0].reading, whole.holdings[0].reached)
    (roomy,) = survey(found, generated_baseline, (0.3,)).fleets
    assert roomy.given_up == 0
