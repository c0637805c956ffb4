"""Every type of evidence keeps the promises of the registry: complete, in proportion, and with words wherever it is told of."""

import importlib
import json
import math
import pkgutil
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from jsonschema import Draft202012Validator

from detector.baseline.store import Baseline
from detector.contracts import to_json
from detector.engine import evidence
from detector.engine.evidence import registry
from detector.engine.evidence.accumulate import (
    CHANNELS,
    CONSTRUCTED,
    FLOORS,
    MAY_STOP,
    NOTHING,
    ORDINARY,
    SHARES,
    AccumulatedEvidence,
    accumulate,
)
from detector.engine.evidence.channel import Channel, Counted, EvidenceType
from detector.engine.evidence.registry import EVIDENCE, REGISTRY
from detector.engine.evidence.whole import HARM, NOVELTY, REFUSED, REUSED
from detector.engine.features.row import NAMES
from detector.engine.findings import Outputs
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.moment import ConductEvidence, Moment, kind_of
from detector.engine.policy import ACTIONS, BLOCK, THROTTLE, Budget, PolicySettings, thresholds_for
from detector.engine.shard import EngineSettings, Shard
from detector.engine.state import PLACES
from detector.offline.explain.case import channel_case
from detector.offline.trace import Trace
from detector.sinks import render
from detector.testing import Events, batches

ROOT = Path(__file__).parents[3]
FEWEST, MOST = 3, 25  # queries in a row that reach the floor: no single accident does, and a thief has few answers by then
LONGEST = 200  # queries, by which a thief at the channel's own rate has reached it
LABELS = {"title": 60, "description": 110, "meaning": 130, "lookalike": 130, "innocent": 800, "blind_to": 800}
SENTENCES = ("description", "innocent", "blind_to")

every_channel = pytest.mark.parametrize("channel", [pytest.param(channel, id=channel.name) for channel in REGISTRY])
every_type = pytest.mark.parametrize("found", [pytest.param(found, id=name) for name, found in EVIDENCE.items()])


def read_guide() -> str:
    """Return the investigation guide, wherever this repository keeps it."""
    places = [path for folder in ("deploy", "docs") for path in (ROOT / folder).rglob("investigation-guide.md")]
    assert len(places) == 1
    return places[0].read_text(encoding="utf-8")


def peaks(column: npt.NDArray[np.float32], channel: Channel) -> npt.NDArray[np.float32]:
    """Return a channel's evidence of one client after each query, from the likelihood ratios of its queries."""
    n, j = len(column), CHANNELS.index(channel.name)
    sums, peak = np.zeros((1, len(CHANNELS), len(SHARES)), np.float32), np.zeros((n, len(CHANNELS)), np.float32)
    state = AccumulatedEvidence(sums, np.zeros((1, len(CHANNELS)), np.float32), np.zeros((1, len(CHANNELS)), np.uint32))
    ratio = np.full((n, len(CHANNELS)), NOTHING)
    ratio[:, j] = column
    accumulate(state, np.zeros(n, np.int64), ratio, np.zeros(n, np.uint8), np.zeros(n, np.bool_), peak)
    assert not np.delete(peak, j, axis=1).any()
    return peak[:, j]


def at_random(channel: Channel, share: float, queries: int) -> npt.NDArray[np.float32]:
    """Return likelihood ratios of queries, a `share` of which look constructed."""
    j = CHANNELS.index(channel.name)
    constructed = np.random.default_rng(1).random(queries) < share
    ratio: npt.NDArray[np.float32] = np.where(constructed, CONSTRUCTED[j], ORDINARY[j]).astype(np.float32)
    return ratio


@every_channel
def test_each_channel_has_a_file_and_a_test_of_its_own(channel: Channel) -> None:
    """Its module has its name, says in its first words what it is, and is tried by itself."""
    module = importlib.import_module(f"{evidence.__name__}.{channel.name}")
    assert module.CHANNEL is channel
    assert re.fullmatch(r"[a-z]{3,10}", channel.name)
    assert (module.__doc__ or "").startswith(f"{channel.name.capitalize()}: ")
    assert (Path(__file__).parent / f"test_{channel.name}.py").is_file()
    assert getattr(registry, channel.name.upper()) == REGISTRY.index(channel)


def test_no_channel_is_left_out() -> None:
    """What declares a channel in the folder is in the registry, in the order of every table; the others come behind."""
    modules = [
        importlib.import_module(f"{evidence.__name__}.{found.name}") for found in pkgutil.iter_modules(evidence.__path__)
    ]
    declared = {module.CHANNEL.name for module in modules if hasattr(module, "CHANNEL")}
    assert declared == {channel.name for channel in REGISTRY}
    assert tuple(channel.name for channel in REGISTRY) == CHANNELS
    assert (*CHANNELS, NOVELTY.name, REFUSED.name, REUSED.name, HARM.name) == tuple(EVIDENCE) == PLACES


@every_type
def test_all_texts_are_there(found: EvidenceType) -> None:
    """Titles and meanings are parts of sentences, descriptions are whole ones; all are short, and no two alerts read alike."""
    for name, longest in LABELS.items():
        if not hasattr(found, name):
            continue
        text = getattr(found, name)
        assert 10 <= len(text) <= longest, name
        assert text.isprintable()
        assert text == " ".join(text.split())
        assert text[0].islower() == (name in {"meaning", "lookalike"}), name
        assert text.endswith(".") == (name in SENTENCES), name
        if name in {"title", "description", "meaning"}:
            assert [other.name for other in EVIDENCE.values() if getattr(other, name) == text] == [found.name]


@every_channel
def test_a_query_is_worth_what_its_rates_say(channel: Channel) -> None:
    """One that looks constructed speaks for theft, one that does not speaks against it, and the tables say so."""
    j = CHANNELS.index(channel.name)
    if isinstance(channel.ratio, Counted):
        assert 0.0 < channel.ratio.innocent < channel.ratio.attack < 1.0
    assert 0.0 < channel.ratio.innocent < 0.5
    assert 0.0 < channel.ratio.ordinary < 1.0 < channel.ratio.constructed < math.inf
    assert CONSTRUCTED[j] == np.float32(channel.ratio.constructed)
    assert ORDINARY[j] == np.float32(channel.ratio.ordinary)
    expected = channel.ratio.innocent * channel.ratio.constructed + (1 - channel.ratio.innocent) * channel.ratio.ordinary
    assert expected == pytest.approx(1.0)


@every_channel
def test_a_thief_reaches_the_floor_in_a_sensible_number_of_queries(channel: Channel) -> None:
    """Neither by one accident nor after hundreds: with every query, and as often as the channel says that thieves show it."""
    assert channel.floor == FLOORS[CHANNELS.index(channel.name)] > 0.0
    needed = int(np.argmax(peaks(at_random(channel, 1.0, 100), channel) >= channel.floor)) + 1
    assert FEWEST <= needed <= MOST
    if isinstance(channel.ratio, Counted):
        assert peaks(at_random(channel, channel.ratio.attack, LONGEST), channel)[-1] >= channel.floor


@every_channel
def test_innocent_traffic_never_reaches_the_floor(channel: Channel) -> None:
    """Ordinary queries leave no evidence at all, and accidents at the innocent rate stay below the floor for 20,000 queries."""
    assert not peaks(at_random(channel, 0.0, 1000), channel).any()
    assert peaks(at_random(channel, channel.ratio.innocent, 20_000), channel)[-1] < channel.floor


@every_channel
def test_only_construction_stops(channel: Channel) -> None:
    """The kind decides how far a channel may go, before any calibration and whatever else it says."""
    j = CHANNELS.index(channel.name)
    thresholds = thresholds_for(PolicySettings(), None, None)
    assert channel.may_stop == (channel.kind == "construction") == MAY_STOP[j]
    assert thresholds.limit[j] == (BLOCK if channel.may_stop else THROTTLE)
    assert thresholds.stop[j] == channel.floor


@every_type
def test_an_alert_tells_of_it(found: EvidenceType, generated_baseline: Baseline) -> None:
    """Judged and rendered, it keeps to the published schemas, under a rule of its own."""
    policy = PolicySettings(shadow=False, budget=Budget(stop_at=0.5))
    shard = Shard(EngineSettings(policy=policy), generated_baseline.models)
    (batch,) = batches([Events("alpha").line("acme", np.full(9, 0.5), 1)])
    shard.process(batch)
    if found is HARM:  # the odometer was read, and the copy was right about all reference inputs
        metered = shard._tables["alpha"].columns.metered
        metered.read[0], metered.right[0] = 1, 1024
    place = PLACES.index(found.name)
    peak = np.zeros(len(CHANNELS), np.float32)
    peak[place : place + 1] = 2000.0
    moment = Moment(
        batch=batch,
        event=0,
        slot=0,
        queries=40,
        peak=peak,
        channels=[place] if place < len(CHANNELS) else [],
        score={NOVELTY.name: 2000.0, HARM.name: 0.0}.get(found.name),
        odds=tuple(ConductEvidence(j, 2000.0, 30, 40, 0.02) for j, asked in enumerate((REFUSED, REUSED)) if asked is found),
        row=np.zeros(len(NAMES)),
        emitted=0,
    )
    outputs = Outputs()
    shard._table("alpha", "alpha").judge.judge(moment, outputs)
    (finding,) = outputs.findings
    stamp = render.Stamp("baseline", "config", policy)
    alert = render.alert(finding, stamp)
    assert alert.rule.id == alert.event.code == f"extraction.{found.name}"
    assert (alert.rule.name, alert.rule.description) == (found.title, found.description)
    assert alert.detector.evidence[0].name == found.name
    assert alert.detector.evidence[0].kind == found.kind == kind_of(place)
    if found is not NOVELTY:
        assert found.meaning in alert.event.reason
    assert finding.action <= (THROTTLE if found.kind == "novelty" else BLOCK)
    documents = [
        (alert, "alert.v1.json"),
        *((render.decision(order, stamp), "decision.v1.json") for order in outputs.pending_decisions),
    ]
    for document, schema in documents:
        published = json.loads((ROOT / "schemas" / schema).read_text(encoding="utf-8"))
        assert list(Draft202012Validator(published).iter_errors(json.loads(to_json(document)))) == []


@every_channel
def test_an_explanation_tells_of_it(channel: Channel) -> None:
    """What it means, what looks alike, and every action that it may lead to."""
    j = CHANNELS.index(channel.name)
    trace = Trace(
        client="acme",
        model="alpha",
        group="",
        queries=np.array([1]),
        time_ms=np.array([0]),
        event_ids=("alpha-0",),
        z=np.zeros((1, COORDINATES), np.int16),
        ratio=CONSTRUCTED[None],
        peak=FLOORS[None].astype(np.float32),
        evaluations=np.zeros(0, np.int64),
        novelty=np.zeros(0),
        rows=np.zeros((0, len(NAMES))),
        thresholds=thresholds_for(PolicySettings(), None, None),
        escalations=(),
    )
    case = channel_case(trace, j)
    assert (case.name, case.kind, case.meaning, case.lookalike) == (
        channel.name,
        channel.kind,
        channel.meaning,
        channel.lookalike,
    )
    assert case.score == channel.floor
    assert [example.event_id for example in case.examples] == ["alpha-0"]
    assert set(case.thresholds) == set(ACTIONS) - ({"allow", "throttle"} if channel.may_stop else {"allow", "perturb", "block"})


@every_type
def test_the_investigation_guide_has_a_place_for_it(found: EvidenceType) -> None:
    """In the short form by name; at length a row if it is construction, a paragraph if it is novelty."""
    guide = read_guide()
    sections = {part.split("\n", 1)[0]: part for part in guide.split("\n## ")[1:]}
    assert f"`{found.name}`" in sections["In short"]
    if found.kind == "construction":
        assert f"\n| `{found.name}` | " in sections["Evidence of construction"]
    elif found is HARM:
        assert "\n`harm`: " in sections["Evidence of harm"]
    elif found not in {REFUSED, REUSED}:
        assert f"\n`{found.name}`: " in sections["Evidence of novelty"]
