"""Where the fields of records of unknown shape stand: guessed as a person would, and said to be a guess."""

from collections.abc import Callable
from typing import Any

import pytest

from detector.offline.inspection.guess import guess

SHAPES: dict[str, tuple[Callable[[int], Any], dict[str, Any]]] = {
    "a table of texts": (
        lambda n: {
            "prediction_id": f"p{n}",
            "ts": f"2026-05-04 10:30:{n:02}",
            "amount": f"{n}.5",
            "user": f"u{n % 3}",
            "y_pred": "ok",
        },
        {"id": "prediction_id", "time": "ts", "client": "user", "label": "y_pred", "columns": ["amount"]},
    ),
    "an object of features": (
        lambda n: {
            "requestId": f"r{n}",
            "createdAt": 1_777_890_667 + n,
            "customer": {"id": n % 4, "ip": "203.0.113.7"},
            "features": {"age": n, "income": n * 2.5},
            "prediction": {"class": n % 2, "probabilities": [0.25, 0.75]},
            "latency_ms": 3.5,
        },
        {
            "id": "requestId",
            "time": "createdAt",
            "input": "features",
            "label": "prediction.class",
            "probabilities": "prediction.probabilities",
            "latency_ms": "latency_ms",
            "ip": "customer.ip",
            "client": "customer.id",
        },
    ),
    "lists in texts, a score alone": (
        lambda n: {
            "timestamp": "2026-05-04T10:30:00Z",
            "api_key_id": f"k{n % 2}",
            "input": f"[{n}, 2.5]",
            "risk_score": n / 40,
        },
        {"time": "timestamp", "client": "api_key_id", "input": "input", "score": "risk_score"},
    ),
    "a number that is predicted": (
        lambda n: {"at": f"2026-05-04T10:30:{n:02}Z", "tenant": "a", "sqm": n, "rooms": n % 5, "predicted_price": n * 1.25},
        {"time": "at", "client": "tenant", "columns": ["sqm", "rooms"], "score": "predicted_price"},
    ),
    "prompts": (
        lambda n: {
            "time": f"2026-05-04T10:30:{n:02}Z",
            "user_id": f"u{n % 3}",
            "prompt": f"what is {n}, and why?",
            "answer": f"it is {n}",
        },
        {"time": "time", "client": "user_id", "input": "prompt", "label": "answer"},
    ),
    "the truth, an index and a constant id beside the columns": (
        lambda n: {
            "": n,
            "when": f"2026-05-04T10:30:{n:02}Z",
            "a": n,
            "b": None if n % 2 else 1,
            "label": n % 2,
            "ground_truth": 1,
        },
        {"time": "when", "columns": ["a", "b"], "label": "label"},
    ),
    "columns whose names sound like something else": (
        lambda n: {
            "ts": f"2026-05-04T10:30:{n:02}Z",
            "user": f"u{n % 3}",
            "account_age": n % 4,
            "num_users": n % 3,
            "marital_status": n % 2,
            "car_model": "abc"[n % 3],
            "os_version": n % 2,
            "credit_score": 300 + n,
            "idle_minutes": n,
            "pclass": n % 3,
            "prediction": n % 2,
        },
        {
            "time": "ts",
            "client": "user",
            "label": "prediction",
            "columns": [
                "account_age",
                "num_users",
                "marital_status",
                "car_model",
                "os_version",
                "credit_score",
                "idle_minutes",
                "pclass",
            ],
            "id": None,
            "model": None,
            "version": None,
            "status": None,
            "score": None,
        },
    ),
    "what gateways add": (
        lambda n: {
            "at": 1_777_890_667_000 + n,
            "who": {"name": f"u{n % 3}"},
            "model": "fraud",
            "model_version": "7",
            "status": 200 if n % 5 else 429,
            "user_agent": "curl",
            "x": [n, 1],
            "scores": {"no": 0.25, "yes": 0.75},
        },
        {
            "time": "at",
            "client": "who.name",
            "model": "model",
            "version": "model_version",
            "status": "status",
            "user_agent": "user_agent",
            "input": "x",
            "probabilities": "scores",
        },
    ),
    "names that JMESPath must quote": (
        lambda n: {"event time": f"2026-05-04T10:30:{n:02}Z", "user-name": f"u{n % 3}", "a b": n, "the.label": n % 2},
        {"time": '"event time"', "client": '"user-name"', "columns": ["a b"], "label": '"the.label"'},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str) -> None:
    """Each field of an event is the one that a person would take; each has a reason."""
    make, expected = SHAPES[shape]
    found = guess(map(make, range(20)))
    assert found is not None
    assert {key: found.mapping.get(key) for key in expected} == expected
    assert found.why.keys() == found.mapping.keys()


def test_what_is_not_there_is_said() -> None:
    """Nothing is invented."""
    found = guess([{"hello": "world", "note": "a" * 100}] * 3)
    assert found is not None
    assert not {"time", "client", "label", "score"} & found.mapping.keys()
    assert set(found.lacking) >= {"time", "client", "answer"}


@pytest.mark.parametrize("documents", [[], [None, 3, "x", [1]], [{}], [{"a": {}}]])
def test_no_objects(documents: list[Any]) -> None:
    """It does not fail."""
    found = guess(documents)
    assert found is None or not found.mapping.keys() & {"time", "client", "label"}


def test_odd_values_do_not_fail() -> None:
    """Whatever stands in a field; what is kept is bounded."""
    odd: list[Any] = [
        None,
        True,
        10**400,
        -1,
        1e300,
        float("nan"),
        "",
        "\ud800",
        "[" * 1000,
        {},
        [],
        [[1]],
        {"a": {"b": {"c": {"d": 1}}}},
    ]
    names = ("id", "time", "user", "score", "label", "input", "\x1b", 'a"b\\c', "\ud800")
    assert guess([dict.fromkeys(names, value) for value in odd]) is not None
    assert guess([{f"field {number}": number for number in range(10_000)}]) is not None
