"""The responses that a client received, read again from the log, and how good a copy of the model they make.

Copies are judged by what the model answered to other clients, so that no access to the model is needed: the log is enough.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from detector.config import Config
from detector.errors import SourceError
from detector.ingest.formats.decoder import several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.recorded import read, records_of
from detector.ingest.schema import InputSchema
from detector.offline.trace import Trace
from detector.redteam.copy import best_fidelity_at

MOST_FRESH, LEAST_FRESH = 500, 50

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """One client's queries to a model and the responses: n queries, in the order in which they counted.

    `inputs` is (n, dimension); `outputs` (n, classes) are probabilities, or one-hot where the log holds labels only.
    `fresh_inputs` (m, dimension) and `fresh_outputs` (m, classes) are a sample of the queries of clients who
    raised no alert, and of the responses.
    """

    client: str
    model: str
    event_ids: tuple[str, ...]
    inputs: Floats
    outputs: Floats
    fresh_inputs: Floats
    fresh_outputs: Floats

    def copies(self, moments: Sequence[int] | None = None) -> pd.DataFrame:
        """Return the fidelity of the best copy that could be trained after so many queries: ``queries``, ``fidelity``.

        Fidelity is the share of the fresh inputs on which the copy says what the model said. Copies are a network, a decision
        tree and a solved softmax regression; a thief with more patience does better. `moments` are numbers of queries, the
        powers of two and all of them unless given. Each takes half a second or so. A missing value counts as the mean.

        Raises `SourceError` when the log holds fewer than 50 queries of other, unsuspected clients.
        """
        if len(self.fresh_inputs) < LEAST_FRESH:
            raise SourceError(
                f"the log holds {len(self.fresh_inputs)} queries of clients without alerts to model {self.model!r}; "
                f"{LEAST_FRESH} are needed to judge copies by"
            )
        asked = len(self.inputs)
        wanted = [2**k for k in range(3, 31) if 2**k < asked] if moments is None else [m for m in moments if 0 < m < asked]
        known = np.ma.masked_invalid(self.fresh_inputs)
        middle, spread = known.mean(axis=0).filled(0.0), known.std(axis=0).filled(1.0)
        spread[spread == 0] = 1.0
        inputs, fresh = (np.where(np.isnan(X), middle, X) for X in (self.inputs, self.fresh_inputs))

        def standardised(X: Floats) -> Floats:
            return np.asarray((X - middle) / spread, np.float64)

        def best(encode: Callable[[Floats], Floats]) -> dict[int, float]:
            moments = [*wanted, asked]
            return best_fidelity_at(moments, inputs, self.outputs, fresh, lambda _: self.fresh_outputs, 0, encode)

        # Pixels are better left as they are, columns of a table are not; on a busy machine threads only wait for each other.
        with threadpool_limits(1):
            plain, scaled = best(np.asarray), best(standardised)
        return pd.DataFrame({"queries": list(plain), "fidelity": [max(plain[n], scaled[n]) for n in plain]})


def read_responses(
    logs: Sequence[str],
    trace: Trace,
    innocent: Collection[str],
    config: Config,
    schemas: Mapping[str, InputSchema] | None = None,
) -> Responses:
    """Read the traced client's queries and responses, and a sample of those of the clients in `innocent` on the same model.

    `config` says how records are read, and `schemas` what the baseline knows of inputs and answers. A damaged log is used as
    far as it can be read.

    Raises `SourceError` when events of the client are no longer there, or the responses have no common form.
    """
    wanted = set(trace.event_ids)
    own: dict[str, DecodedEvent] = {}
    fresh: list[DecodedEvent] = []
    rng = np.random.default_rng(0)
    met = 0
    for event in _events(logs, config, schemas):
        if event.model.id != trace.model:
            continue
        if event.client.id == trace.client:
            if event.event_id in wanted:
                own.setdefault(event.event_id, event)
        elif event.client.id in innocent and event.output.perturbed is None:  # what the model says is asked for
            met += 1
            if len(fresh) < MOST_FRESH:
                fresh.append(event)
            elif (at := int(rng.integers(met))) < MOST_FRESH:
                fresh[at] = event
    lost = [event_id for event_id in trace.event_ids if event_id not in own]
    if lost:
        raise SourceError(f"the log no longer holds {len(lost)} of the client's queries, such as {lost[0]!r}: replay it again")
    asked = [own[event_id] for event_id in trace.event_ids]
    dimension = len(asked[0].input.values())
    fresh = [event for event in fresh if len(event.input.values()) == dimension]
    outputs = _outputs([*asked, *fresh])
    return Responses(
        client=trace.client,
        model=trace.model,
        event_ids=trace.event_ids,
        inputs=_inputs(asked, dimension),
        outputs=outputs[: len(asked)],
        fresh_inputs=_inputs(fresh, dimension),
        fresh_outputs=outputs[len(asked) :],
    )


def _events(logs: Sequence[str], config: Config, schemas: Mapping[str, InputSchema] | None) -> Iterator[DecodedEvent]:
    decoder = decoder_of_files(config, schemas)
    for chunk in read(logs, config, []):
        for record in records_of(chunk):
            found = several(decoder.decode(record))
            yield from (one for one in found if isinstance(one, DecodedEvent) and _usable(one))


def _usable(event: DecodedEvent) -> bool:
    values = event.input.values()
    return not (np.isinf(values).any() or np.isnan(values).all())


def _inputs(events: Sequence[DecodedEvent], dimension: int) -> Floats:
    return np.array([event.input.values() for event in events], np.float64).reshape(len(events), dimension)


def _outputs(events: Sequence[DecodedEvent]) -> Floats:
    responses = [event.output.probabilities for event in events]
    if all(responses) and len({len(probabilities or ()) for probabilities in responses}) == 1:
        return np.array(responses, np.float64)
    labels = [event.output.label for event in events]
    if None in labels:
        raise SourceError("some responses are probabilities without a label, so they cannot be compared with the others")
    classes = {label: k for k, label in enumerate(sorted(set(labels), key=repr))}
    return np.eye(len(classes))[[classes[label] for label in labels]]
