"""Bodies of model servers: answers are perturbed wherever they stand, and nothing else with a fraction slips through."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.perturb.modes import How
from detector.perturb.telling import Policy, request_without_logprobs, tell

KEY = b"0123456789abcdef" * 2
HOWS = [How("top1"), How("label"), How("mislead", secret=KEY)]
V2 = {
    "model_name": "m",
    "model_version": "1",
    "id": "7",
    "outputs": [
        {"name": "p", "datatype": "FP32", "shape": [2, 3], "data": [0.123, 0.8, 0.077, 0.61, 0.2, 0.19]},
        {"name": "l", "datatype": "INT64", "shape": [2], "data": [1, 0]},
    ],
}
KNOWN: dict[str, Any] = {
    "v1 probabilities": {"predictions": [[0.123, 0.877], [0.61, 0.39]]},
    "v1 scores": {"predictions": [0.123, 0.877]},
    "v1 records": {"predictions": [{"label": "b", "probabilities": [0.123, 0.877], "classes": ["a", "b"]}]},
    "tensorflow columns": {"outputs": {"scores": [[0.123, 0.877]], "classes": [["a", "b"]]}},
    "v2": V2,
    "v2 nested": {"outputs": [{"name": "p", "datatype": "FP64", "shape": [1, 2], "data": [[0.123, 0.877]]}]},
    "seldon": {"data": {"names": ["a", "b"], "ndarray": [[0.123, 0.877]]}, "meta": {"metrics": [{"value": 1.5}]}},
    "seldon tensor": {"data": {"tensor": {"shape": [1, 2], "values": [0.123, 0.877]}}},
    "mlflow": {"predictions": [{"0": 0.123, "1": 0.877}]},
    "by class": {"cat": 0.123, "dog": 0.877},
    "label and score": {"label": 1, "score": 0.877},
    "label and classes": {"label": "dog", "probabilities": {"cat": 0.123, "dog": 0.877}},
    "pipeline": [{"label": "dog", "score": 0.877}, {"label": "cat", "score": 0.123}],
    "best of many": [{"label": "dog", "score": 0.577}, {"label": "cat", "score": 0.123}],
    "list": [0.123, 0.877],
    "lists": [[0.123, 0.877]],
}
UNKNOWN: dict[str, Any] = {
    "embedding": {"embedding": [0.1, 0.2, 0.3]},
    "embeddings": {"object": "list", "data": [{"embedding": [0.1, 0.4], "index": 0}]},
    "logits": {"predictions": [[2.31, -1.27]]},
    "regression": {"predictions": [312.5]},
    "beside": {"predictions": [[0.123, 0.877]], "explanations": [0.31]},
    "inside": {"predictions": [{"probabilities": [0.123, 0.877], "logits": [2.31, -1.27]}]},
    "as text": {"predictions": [{"label": "dog", "confidence": "0.877123"}]},
    "triton": {"outputs": [{"name": "c", "datatype": "BYTES", "shape": [1], "data": ["0.877:1:dog"]}]},
    "shape": {"outputs": [{"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [0.123, 0.877]}]},
    "binary": {"outputs": [{"name": "p", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]},
}


def told(document: Any, how: How = HOWS[0]) -> Any:
    found = tell(json.dumps(document).encode(), Policy(how))
    return None if found.body is None else json.loads(found.body)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for entry in value.values() for number in numbers(entry)]
    if isinstance(value, list):
        return [number for entry in value for number in numbers(entry)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.mode)
def test_known_bodies(name: str, how: How) -> None:
    """None of the model's figures is left, and the body keeps its form."""
    found = told(KNOWN[name], how)
    assert found is not None
    assert not {0.123, 0.877, 0.077, 0.577} & set(numbers(found))
    assert type(found) is type(KNOWN[name])
    if isinstance(found, dict):
        assert list(found) == list(KNOWN[name])


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_bodies_are_refused_or_passed(name: str) -> None:
    """As the operator has it, and counted by reason."""
    body = json.dumps(UNKNOWN[name]).encode()
    refusing, passing = Policy(), Policy(unknown="pass")
    assert tell(body, refusing).body is None
    assert tell(body, passing).body == body
    ((outcome, reason),) = refusing.counts.snapshot()
    assert (outcome, bool(reason)) == ("refused", True)
    assert b'outcome="passed"' in passing.counts.text()


def test_labels_and_names_pass() -> None:
    """What has no figure has nothing to hide."""
    plain: list[Any] = [{"predictions": [1, 0, 2]}, {"predictions": ["a", "b"]}, {"label": "dog"}, [], {}, {"error": "no"}]
    for document in plain:
        assert told(document) == document


def test_labels_follow_where_they_mislead() -> None:
    """A label beside the probabilities says the same as they do, or the body is unknown."""
    how = HOWS[2]
    for at in range(40):
        high = 0.51 + at / 100
        found = told({"label": 1, "probabilities": [1 - high, high]}, how)
        assert found["label"] == found["probabilities"].index(max(found["probabilities"]))
        named = told({"label": "b", "probabilities": {"a": 1 - high, "b": high}}, how)
        assert named["label"] == max(named["probabilities"], key=named["probabilities"].get)
    found = told(V2, how)
    rows = [found["outputs"][0]["data"][at : at + 3] for at in (0, 3)]
    assert found["outputs"][1]["data"] == [row.index(max(row)) for row in rows]


@given(st.floats(0.0, 1.0))
def test_a_single_score_keeps_its_side(score: float) -> None:
    """Whoever compares it with one half decides as before."""
    for how in HOWS[:2]:
        found = told({"predictions": [score]}, how)["predictions"][0]
        assert (found >= 0.5) == (score >= 0.5)
        assert 0.0 <= found <= 1.0


def test_probabilities_of_tokens_are_removed() -> None:
    """From answers of language models, and from what is asked; the text stays."""
    answer = {"choices": [{"index": 0, "message": {"content": "yes"}, "logprobs": {"content": [{"logprob": -0.12}]}}]}
    assert told(answer) == {"choices": [{"index": 0, "message": {"content": "yes"}}]}
    asked = b'{"model":"m","logprobs":true,"top_logprobs":5,"stream":true}'
    assert json.loads(request_without_logprobs(asked) or b"") == {"model": "m", "stream": True}
    assert request_without_logprobs(b'{"a": 1 }') == b'{"a": 1 }'


@pytest.mark.parametrize(
    "asked",
    [
        b'{"logpr\\u006fbs":true}',
        b'{"LogProbs":true}',
        b'{"a":{"logprobs":true},"a":{}}',
        b'{"include":["message.output_text.logprobs"]}',
    ],
)
def test_a_disguised_request_asks_for_no_probabilities_of_tokens(asked: bytes) -> None:
    """Other names for them, and names that are written otherwise."""
    kept = request_without_logprobs(asked)
    assert kept is not None
    assert b"logpr" not in kept.lower()


@pytest.mark.parametrize(
    "asked", [b"logprobs", '{"logprobs":true}'.encode("utf-16"), b'{"logprobs":true,"a":"\\ud800"}', b"[" * 99]
)
def test_a_request_that_cannot_be_read_is_told_from_one_that_can(asked: bytes) -> None:
    """A server may read what is no JSON by the book."""
    assert request_without_logprobs(asked) is None
    assert request_without_logprobs(b"{}", "text/plain") is None
    assert request_without_logprobs(b"", "text/plain") == b""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b"\x89PNG"}, "not_json"),
        ({"body": b"[NaN, 1]"}, "not_json"),
        ({"body": b"\xff"}, "not_json"),
        ({"content_type": "image/png"}, "not_json"),
        ({"encoding": "gzip"}, "encoded"),
        ({"body": b"[" * 100_000 + b"]" * 100_000}, "not_json"),
        ({"body": b"[" * 100 + b"]" * 100}, "nesting"),
        ({"body": b" " * 2_000_000}, "too_large"),
    ],
)
def test_what_cannot_be_read(changes: dict[str, Any], reason: str) -> None:
    """Each has its reason, and none raises."""
    found = tell(**{"body": b"[0.1,0.9]", "policy": Policy(), **changes})
    assert (found.body, found.outcome) == (None, "refused")
    assert found.reason == reason or {found.reason, reason} <= {"nesting", "not_json"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(["a", "0.5", "1e-3", "FP32"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "predictions",
                    "outputs",
                    "data",
                    "ndarray",
                    "tensor",
                    "shape",
                    "values",
                    "datatype",
                    "label",
                    "score",
                    "probabilities",
                    "classes",
                    "choices",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(_json, st.sampled_from(HOWS))
def test_no_document_raises(document: Any, how: How) -> None:
    """Whatever a server answers, it is told or refused, by a policy and never by an error of ours."""
    policy = Policy(how)
    found = tell(json.dumps(document).encode(), policy)
    assert found.reason != "failed"
    if found.body is not None:
        assert all(math.isfinite(number) for number in numbers(json.loads(found.body)))


@settings(max_examples=300)
@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_no_mutated_body_raises(name: str, data: st.DataObject) -> None:
    """Bodies with bytes replaced, cut out or repeated."""
    body = bytearray(json.dumps(KNOWN[name]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = tell(bytes(body), Policy())
    assert found.reason != "failed"
