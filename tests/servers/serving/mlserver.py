"""A real MLServer with one scikit-learn model, over the V2 protocol."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from detector.errors import ServerError
from detector.redteam.victim import Pool
from tests.servers.process import last_words
from tests.servers.serving.server import Serving

__all__ = ["MODEL", "VERSION", "LocalMlserver", "Transport"]

MODEL, VERSION = "digits", "v1"


class Transport(NamedTuple):
    """Kafka instead of HTTP: a broker, and the topics of requests and of answers, which must be there."""

    broker: str
    requests: str
    answers: str


class LocalMlserver(Serving):
    """Serves a logistic regression that was fitted on `training`; with `kafka`, also from one topic into another."""

    NAME: ClassVar[str] = "MLServer"
    ONE: ClassVar[str] = "an MLServer"
    PREFIX: ClassVar[str] = "detector-mlserver-"
    PROGRAM: ClassVar[str] = "mlserver"
    HEALTH: ClassVar[str] = f"/v2/models/{MODEL}/ready"

    def __init__(self, training: Pool, kafka: Transport | None = None) -> None:
        """Describe a server; `start` (or ``with``) starts it."""
        super().__init__()
        self._training = training
        self._kafka = kafka

    def _port_names(self) -> tuple[str, ...]:
        return ("http", "grpc")

    def _furnish(self) -> None:
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "http_port": self._ports["http"],
            "grpc_port": self._ports["grpc"],
            "metrics_endpoint": None,  # has a port of its own
            "parallel_workers": 0,  # the model is in the server's own process
        }
        if self._kafka is not None:
            settings |= {
                "kafka_enabled": True,
                "kafka_servers": self._kafka.broker,
                "kafka_topic_input": self._kafka.requests,
                "kafka_topic_output": self._kafka.answers,
            }
        model = {
            "name": MODEL,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": self._fit(), "version": VERSION},
        }
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (self.folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")

    def _fit(self) -> str:
        """Fit the model in the server's own environment, so that versions agree; return its file."""
        data, model = self.folder / "training.json", self.folder / "model.joblib"
        training = {"X": self._training.vectors.tolist(), "y": self._training.labels.tolist()}
        data.write_text(json.dumps(training), encoding="utf-8")
        command = [str(self._python), "-W", "ignore", "-c", _FIT, str(data), str(model)]
        done = subprocess.run(command, env=self._surroundings(), capture_output=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"the model for MLServer cannot be fitted:\n{last_words(done.stderr)}")
        return str(model)

    def _arguments(self) -> Sequence[str]:
        return ["-c", "from mlserver.cli import main; main()", "start", str(self.folder)]

    def _variables(self) -> Mapping[str, str]:
        return {}


_FIT = """
import json, sys
import joblib
from sklearn.linear_model import LogisticRegression

training = json.load(open(sys.argv[1]))
joblib.dump(LogisticRegression(max_iter=300).fit(training["X"], training["y"]), sys.argv[2])
"""
