"""A model, a client that was told marked answers, and the log of both."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from detector.clock import HeldClock
from detector.config import OwnershipSection
from detector.ownership.commit import Sample, committed
from detector.perturb.committed import Committed
from detector.perturb.marks import Marks
from detector.perturb.toldlog import ToldLog

Array = npt.NDArray[np.float64]

SECRET = "a master key of thirty-two bytes"
DIMENSION, CLASSES = 6, 4
MARKED_FROM = 1_777_890_000_000


def model(X: Array) -> Array:
    """A model that is uncertain in many places."""
    weights = np.random.default_rng(1).normal(size=(DIMENSION, CLASSES))
    logits = np.tanh(X @ weights) * 2.5
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray((exponent / exponent.sum(axis=1, keepdims=True)).round(6))


def event(number: int, client: str, vector: Array, output: dict[str, Any], time: int = MARKED_FROM) -> dict[str, Any]:
    """An event of the native format."""
    return {
        "event_id": f"e{number}",
        "time": time + 1000 * number,
        "client": {"id": client},
        "model": {"id": "m"},
        "input": {"vector": vector.tolist()},
        "output": output,
    }


@dataclass(frozen=True)
class Served:
    """What an owner has: the commitment, the settings, a log, and how `client`'s answers are told under its key."""

    folder: Path
    commitment: Path
    made: Committed
    config: Path
    log: Path
    told: Callable[[Array], Array]


def mark(made: Committed, X: Array, client: str, log: Path) -> Array:
    """Tell a client marked answers as the middleware does, and log them."""
    written = ToldLog(log, HeldClock(MARKED_FROM))
    marks = Marks(made, SECRET.encode(), "all", log=written)
    headers = [(b"x-client-id", client.encode())]
    marking = marks.begin(headers, json.dumps({"instances": X.tolist()}).encode())
    assert marking is not None
    told = []
    for row in model(X).tolist():
        answer = marking.row(row)
        marking.told(answer)
        told.append(answer)
    assert marking.complete
    marks.note(marking, "none")
    written.close()
    return np.array(told)


def serve(folder: Path) -> Served:
    """Commit, mark the answers of a client, and log them."""
    rng = np.random.default_rng(0)
    others = rng.normal(size=(300, DIMENSION)).astype(np.float32).astype(np.float64)
    section = OwnershipSection(key=SecretStr(SECRET), strength=1.2, dawn_rate=0.02)
    sample = Sample("m", others.astype(np.float32), model(others))
    made, _ = committed(sample, section, clock=HeldClock(MARKED_FROM - 86_400_000))
    commitment = folder / "ownership.json"
    commitment.write_bytes(made.to_bytes())
    made = Committed.of(commitment.read_bytes(), "here")
    log = folder / "log.jsonl"
    with log.open("w") as file:
        for number, (vector, answer) in enumerate(zip(others, model(others).tolist(), strict=True)):
            output = {"label": int(np.argmax(answer)), "probabilities": answer}
            file.write(json.dumps(event(number, "other", vector, output, MARKED_FROM - 3_600_000)) + "\n")
    config = folder / "detector.toml"
    (folder / "key").write_text(SECRET)
    config.write_text(
        f'[ownership]\nmark = "all"\nkey_file = "{folder / "key"}"\ncommitment = "{commitment}"\n'
        "strength = 1.2\ndawn_rate = 0.02\n"
    )
    X = rng.normal(size=(400, DIMENSION)).astype(np.float32).astype(np.float64)
    answers = mark(made, X, "thief", log)
    mark(made, X[:60] + 1.0, "small", log)
    known = {row.astype(np.float32).tobytes(): answer for row, answer in zip(X, answers, strict=True)}

    def told(rows: Array) -> Array:
        """The copy: what the thief was told, and elsewhere the nearest of that."""
        near = [int(np.argmin(((X - row) ** 2).sum(axis=1))) for row in rows]
        return np.array([known.get(row.astype(np.float32).tobytes(), answers[at]) for row, at in zip(rows, near, strict=True)])

    return Served(folder, commitment, made, config, log, told)
