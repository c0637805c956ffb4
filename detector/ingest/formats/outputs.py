"""Predicted numbers -> labels: the bin of the model's usual answers that a number falls into.

`answers` makes a label of two digits of a number, since it knows no other answer. A baseline knows which numbers the model
predicts, and parts them into ten bins that are equally full.
"""

from collections.abc import Mapping

from detector.ingest.formats.event import EventOutput
from detector.ingest.learning import SchemaLearner
from detector.ingest.schema import InputSchema

__all__ = ["Outputs"]


class Outputs:
    """Gives predicted numbers their labels. `learner`, where given, is shown the numbers."""

    def __init__(self, schemas: Mapping[str, InputSchema], learner: SchemaLearner | None = None) -> None:
        """Take the bins from `schemas`."""
        self._edges = {model: schema for model, schema in schemas.items() if schema.edges}
        self._learner = learner

    def settle(self, model: str, client: str, answer: EventOutput) -> None:
        """Label an answer that is a number, where the bins of the model are known."""
        value = answer.value
        if value is None:
            return
        if self._learner is not None:
            self._learner.note_answer(model, client, value)
        schema = self._edges.get(model)
        if schema is not None:
            answer.label = schema.bin_of(value)
            if answer.probabilities == [1.0 - value, value]:  # taken for a score, without a baseline that knows better
                answer.probabilities = None
