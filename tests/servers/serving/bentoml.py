"""A real BentoML service with one scikit-learn model, whose monitors write their log files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from detector.redteam.victim import Pool
from tests.servers.serving.server import Serving

__all__ = ["LocalBentoml"]


class LocalBentoml(Serving):
    """Serves a logistic regression that was fitted on `training`; ``/columns`` and ``/sequence`` log it in two ways."""

    NAME: ClassVar[str] = "BentoML"
    ONE: ClassVar[str] = "a BentoML"
    PREFIX: ClassVar[str] = "detector-bentoml-"
    PROGRAM: ClassVar[str] = "bentoml"
    HEALTH: ClassVar[str] = "/readyz"
    READY: ClassVar[bytes] = b"Starting production HTTP BentoServer"

    def __init__(self, training: Pool) -> None:
        """Describe a server; `start` (or ``with``) starts it."""
        super().__init__()
        self._training = training

    @property
    def monitoring(self) -> Path:
        """The folder of the monitors' logs."""
        return self.folder / "monitoring"

    def _furnish(self) -> None:
        training = {"X": self._training.vectors.tolist(), "y": self._training.labels.tolist()}
        (self.folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
        (self.folder / "service.py").write_text(_SERVICE, encoding="utf-8")

    def _arguments(self) -> Sequence[str]:
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--working-dir", str(self.folder)]
        return ["-m", "bentoml", "serve", "service:Digits", *place]

    def _variables(self) -> Mapping[str, str]:
        own = str(self._python.parent)  # it starts its workers by the name of a program
        return {
            "BENTOML_HOME": str(self.folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}",
            "TZ": "Asia/Kolkata",  # its times are local and say no offset
        }


_SERVICE = '''
import json

import bentoml
import numpy as np
from sklearn.linear_model import LogisticRegression


@bentoml.service(name="digits", workers=1)
class Digits:
    """Logs its inputs in a column each, or as one."""

    def __init__(self) -> None:
        with open("training.json") as file:
            training = json.load(file)
        self.model = LogisticRegression(max_iter=300).fit(training["X"], training["y"])

    @bentoml.api
    def columns(self, rows: list[list[float]], ctx: bentoml.Context) -> list[list[float]]:
        chances = self.model.predict_proba(np.asarray(rows)).tolist()
        with bentoml.monitor("digits") as monitor:
            for row, chance in zip(rows, chances):
                monitor.log(ctx.request.headers["x-consumer-id"], name="caller", role="feature", data_type="categorical")
                for place, value in enumerate(row):
                    monitor.log(value, name=f"pixel {place}", role="feature", data_type="numerical")
                monitor.log(int(np.argmax(chance)), name="digit", role="prediction", data_type="categorical")
                monitor.log(chance, name="chances", role="prediction", data_type="numerical_sequence")
        return chances

    @bentoml.api
    def sequence(self, rows: list[list[float]], ctx: bentoml.Context) -> list[list[float]]:
        chances = self.model.predict_proba(np.asarray(rows)).tolist()
        with bentoml.monitor("whole digits") as monitor:
            caller = ctx.request.headers["x-consumer-id"]
            monitor.log_batch([caller] * len(rows), name="caller", role="feature", data_type="categorical")
            monitor.log_batch(rows, name="pixels", role="feature", data_type="numerical_sequence")
            monitor.log_batch(chances, name="chances", role="prediction", data_type="numerical_sequence")
        return chances
'''
