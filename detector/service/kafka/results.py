"""The engine's findings as records for Kafka, each with smaller forms in case it is too large for its topic.

Everything is rendered before anything is sent, so an error in rendering comes while nothing has left yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from detector.contracts import Alert, to_json
from detector.engine.findings import Outputs
from detector.service.kafka.parcel import Form
from detector.service.kafka.topics import Topics
from detector.sinks import render


@dataclass(frozen=True, slots=True)
class Result:
    """A rendered decision or alert; `alert` is None for a decision."""

    whole: Form
    alert: Alert | None = None

    def smaller(self) -> Iterator[Form]:
        """Yield smaller forms: of an alert the one without figures, and the one without texts from the log.

        A decision has none: all its fields are bounded.
        """
        if self.alert is not None:
            for form in (without_figures(self.alert), without_texts(self.alert)):
                yield Form(self.whole.topic, self.whole.key, to_json(form))


def results(outputs: Outputs, stamp: render.Stamp, topics: Topics) -> list[Result]:
    """Return decisions, keyed by subject, and then alerts, keyed by client: gateways wait for decisions.

    Raises whatever rendering raises.
    """
    found = []
    for pending in outputs.pending_decisions:
        decision = render.decision(pending, stamp)
        found.append(Result(Form(topics.decisions, decision.key.encode(), to_json(decision))))
    found += [
        Result(Form(topics.alerts, alert.user.id.encode(), to_json(alert)), alert) for alert in render.alerts(outputs, stamp)
    ]
    return found


def without_figures(alert: Alert) -> Alert:
    """Return an alert that says who, what and how bad, without evidence and features."""
    return alert.model_copy(update={"detector": alert.detector.model_copy(update={"evidence": (), "features": {}})})


def without_texts(alert: Alert) -> Alert:
    """Return an alert without figures, and without the texts that the log gave besides the ids."""
    bare = without_figures(alert)
    return bare.model_copy(
        update={
            "source": None,
            "client": None,
            "organization": None,
            "related": bare.related.model_copy(update={"ip": None}),
            "service": bare.service.model_copy(update={"version": None}),
            "labels": bare.labels.model_copy(update={"model_version": None}),
        }
    )
