"""A local model in place of hashed words: what is wrong with it is said at the start, and a failing call costs one record."""

import json
from pathlib import Path

import pytest

from detector.baseline.store import load, save
from detector.config import Config
from detector.errors import ConfigError
from detector.ingest.formats.call import Call
from detector.ingest.formats.decoder import Record, several
from detector.ingest.formats.embeddings import Embeddings
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.schema import InputSchema
from detector.offline import replay as replaying

MODULE = """
import numpy as np

def lengths(texts):
    if any("fail" in text for text in texts):
        raise RuntimeError("no more memory")
    if any("nan" in text for text in texts):
        return [[float("nan")] * 3]
    return np.array([[len(text), text.count(" "), sum(map(ord, text)) % 97] for text in texts], np.float32)

def wider(texts):
    return [[1.0] * 4 for _ in texts]

def flat(texts):
    return [1.0, 2.0]

def failing(texts):
    raise RuntimeError("no model at /models")

number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the operator's module where Python finds it."""
    (tmp_path / "operators_encoder.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))


def config(function: str | None, **inputs: str) -> Config:
    mapping = {"id": "id", "time": "t", "client": "who", "input": "in", "label": "label"}
    encoder = {} if function is None else {"encoder": f"operators_encoder:{function}"}
    return Config.model_validate(
        {"ingest": {"format": "mapping", "model": "m", "mapping": mapping}, "inputs": encoder | inputs}
    )


def record(text: object, client: int = 0, n: int = 0) -> bytes:
    minute = client * 20 + n
    entry = {"id": f"{client}-{n}", "t": f"2026-05-04T{minute // 60:02}:{minute % 60:02}:00Z", "who": f"c{client}"}
    return json.dumps(entry | {"in": text, "label": n % 2}).encode()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("missing", "cannot be imported: AttributeError"),
        ("number", "is no function"),
        ("flat", r"failed for one text: ValueError: returned an array of shape \(2,\)"),
        ("failing", "failed for one text: RuntimeError: no model at /models"),
    ],
)
def test_an_encoder_that_does_not_work_is_said_at_the_start(function: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        decoder_of_files(config(function))


def test_a_call_that_fails_costs_one_record() -> None:
    decoder = decoder_of_files(config("lengths"))
    good, bad, odd, after = (several(decoder.decode(Record(record(text)))) for text in ("ab c", "fail", "nan", "abc"))
    assert isinstance(good[0], DecodedEvent)
    assert good[0].input.vector == [4.0, 1.0, (97 + 98 + 32 + 99) % 97]
    assert isinstance(bad[0], Refusal)
    assert "failed: RuntimeError: no more memory" in bad[0].detail
    assert isinstance(odd[0], Refusal)
    assert "not finite" in odd[0].detail
    assert isinstance(after[0], DecodedEvent)


def test_a_baseline_goes_with_the_encoder_that_it_was_fitted_with(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    words = ("red fox", "blue whale", "old oak tree", "a", "grey stone wall")
    lines = [record(f"{words[(client + n) % 5]} {n * client}", client, n) for client in range(12) for n in range(12)]
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    fitted = replaying.fit([str(log)], config("lengths"))
    save(fitted, tmp_path / "baseline")
    known = load(tmp_path / "baseline")
    assert (known.schemas["m"].encoder, known.schemas["m"].embedded) == ("operators_encoder:lengths", 3)
    done = replaying.replay([str(log)], tmp_path / "out", config("lengths"), known)
    assert (done.summary["events"], done.summary["invalid"]) == (144, 0)
    with pytest.raises(
        ConfigError, match="encoder is not set, but the baseline of model 'm' was fitted with operators_encoder"
    ):
        decoder_of_files(config(None), known.schemas)
    renamed = {"m": InputSchema(encoder="operators_encoder:wider", embedded=3)}
    with pytest.raises(ConfigError, match="makes 4 numbers"):
        decoder_of_files(config("wider"), renamed)


def test_embeddings_of_the_gateway_are_used_in_place_of_texts() -> None:
    """They stand in each instance or in the record; where one is missing, the record is refused."""
    decoder = decoder_of_files(config(None, embedding="vector"))
    within = several(decoder.decode(Record(record({"text": "red fox", "vector": [0.5, 2]}))))
    assert isinstance(within[0], DecodedEvent)
    assert within[0].input.vector == [0.5, 2]
    beside = json.loads(record("red fox")) | {"vector": [1.5, 2.5]}
    found = several(decoder.decode(Record(json.dumps(beside).encode())))
    assert isinstance(found[0], DecodedEvent)
    assert found[0].input.vector == [1.5, 2.5]
    for wrong in (None, [], ["a"], [[1, 2], [3, 4]], {"0": 1}, [True]):
        entry = json.loads(record("red fox")) | {"vector": wrong}
        refused = several(decoder.decode(Record(json.dumps(entry).encode())))
        assert isinstance(refused[0], Refusal)
        assert "embeddings at vector for 1 inputs" in refused[0].detail
    batch = Call("c", None, None, document={"vector": [[1, 2], [3, 4]]})
    assert Embeddings("vector").instead(batch, ["red fox", "blue whale"]) == [[1, 2], [3, 4]]
