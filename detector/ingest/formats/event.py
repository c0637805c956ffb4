"""What every format is decoded into: an event, or the refusal that says why a record is none."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import Reason
from detector.contracts.event import PROBABILITY_SLACK, REPEATED_ITEM, SCORES_DIFFER
from detector.contracts.limits import ID_CHARACTERS, MARK_SUBJECT_CHARACTERS, RANKING_ITEMS, TEXT_CHARACTERS
from detector.errors import DetectorError
from detector.ingest.owner import Owner

if TYPE_CHECKING:
    from detector.ingest.formats.decoder import Record

__all__ = [
    "DETAIL_CHARACTERS",
    "DecodedEvent",
    "EventClient",
    "EventInput",
    "EventModel",
    "EventOriginal",
    "EventOutput",
    "EventPerturbed",
    "Refusal",
    "UnusableError",
    "refuse",
]

DETAIL_CHARACTERS: Final = 200

_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]
_Label: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]
_Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Item: TypeAlias = _Id | _Int64
_Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=-PROBABILITY_SLACK, le=1 + PROBABILITY_SLACK)]


class EventClient(msgspec.Struct, gc=False):
    """Who asked; of a decoded event every text is within its length."""

    id: _Id
    type: str | None = None
    trusted: bool | None = None
    organization: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class EventModel(msgspec.Struct, gc=False):
    """What was asked; of a decoded event every text is within its length."""

    id: _Id
    version: str | None = None


class EventInput(msgspec.Struct, gc=False):
    """The input; of a decoded event `vector` or `vector_b64` is there, and `vector` is the one to use where both are.

    The others become a `vector` when they are decoded. `vector_b64` is the decoded base64: little-endian float32. None
    and NaN are missing values.
    """

    vector: Annotated[list[float | None], msgspec.Meta(min_length=1)] | None = None
    vector_b64: bytes | None = None
    columns: Annotated[dict[str, float | str | bool | None], msgspec.Meta(min_length=1)] | None = None
    text: str | None = None
    image_b64: str | None = None

    def values(self) -> npt.NDArray[np.float32]:
        """Return the input as an array of shape (d,); NaN is a missing value, infinite what float32 cannot hold."""
        if self.vector is None:
            return np.frombuffer(self.vector_b64 or b"", "<f4")
        with np.errstate(over="ignore"):
            return np.array(self.vector, np.float64).astype(np.float32)


class EventMark(msgspec.Struct, gc=False):
    """The mark of ownership that an answer bears: which key made it, for whom, and in which epoch."""

    id: _Label
    subject: Annotated[str, msgspec.Meta(max_length=MARK_SUBJECT_CHARACTERS)]
    epoch: _Label


class EventPerturbed(msgspec.Struct, gc=False):
    """How an answer was changed before the client got it."""

    mode: _Label
    key_id: _Label | None = None
    mark: EventMark | None = None

    @property
    def moves_labels(self) -> bool:
        """Whether the client may have been told another label than the model's own."""
        return self.mode == "mislead" or self.mark is not None


class EventOriginal(msgspec.Struct, gc=False):
    """What the model said where the client was told something else."""

    label: _Label | _Int64 | None = None
    probabilities: Annotated[list[_Probability], msgspec.Meta(min_length=1)] | None = None


class EventOutput(msgspec.Struct, gc=False):
    """The output; of a decoded event `label` or `probabilities` is there, which a `ranking` or a `value` is made into.

    `value` is kept where the answer was a single number, a ranking is not: only its first item is used, and lists are long.
    """

    label: _Label | _Int64 | None = None
    probabilities: Annotated[list[_Probability], msgspec.Meta(min_length=1)] | None = None
    value: float | None = None
    perturbed: EventPerturbed | None = None
    original: EventOriginal | None = None
    ranking: Annotated[list[_Item], msgspec.Meta(min_length=1, max_length=RANKING_ITEMS)] | None = None
    ranking_scores: Annotated[list[float], msgspec.Meta(min_length=1, max_length=RANKING_ITEMS)] | None = None

    def said(self) -> "EventOutput":
        """Return what the model said, as evidence reads it: the original of a perturbed answer.

        Where the log has no original, the probabilities are left out, and the label is the one that was told.
        """
        if self.perturbed is None:
            return self
        original = self.original or EventOriginal()
        if original.label is None and original.probabilities is None:
            return EventOutput(_label_of(self), None)
        # Modes but one keep the label, and the told one is of the same kind as in other events: a name, not a place.
        kept = self.label if original.label is None and not self.perturbed.moves_labels else original.label
        return EventOutput(kept, original.probabilities)

    def rank(self) -> str | None:
        """Make the first item of a ranking the label, unless there is an answer beside it, and drop the list.

        Returns what is wrong with the list, None where nothing is.
        """
        items, scores = self.ranking, self.ranking_scores
        self.ranking = self.ranking_scores = None
        if scores is not None and len(scores) != len(items or ()):
            return f"output: {SCORES_DIFFER}"
        if items is None:
            return None
        if len(set(items)) < len(items):
            return f"output.ranking: {REPEATED_ITEM}"
        if self.label is None and self.probabilities is None:
            self.label = items[0]
        return None

    def misleads(self) -> bool:
        """Tell whether the client was told another label than the model's own, as far as the log shows both."""
        original = self.original
        if self.perturbed is None or not self.perturbed.moves_labels or original is None:
            return False
        if original.label is None and original.probabilities is None:
            return False  # the label that was told is all that is known
        if self.label is not None and original.label is not None:
            return self.label != original.label
        told, said = EventOutput(None, self.probabilities), EventOutput(None, original.probabilities)
        return _label_of(told) is None or _label_of(told) != _label_of(said)

    def only_marked(self) -> bool:
        """Tell whether nothing but a mark changed the answer.

        Then the client faces a model that is as smooth and steady as the own one, and whose labels turn elsewhere. A thief
        follows what he is told, so evidence reads that: by the original a search for the boundary would look like none.
        """
        return self.perturbed is not None and self.perturbed.mode == "none" and self.perturbed.mark is not None

    def __repr__(self) -> str:
        """Show what is used of an answer."""
        return f"EventOutput(label={self.label!r}, probabilities={self.probabilities!r})"


def _label_of(answer: EventOutput) -> str | int | None:
    """Return the label that was told, or the place of the largest probability."""
    if answer.label is not None or answer.probabilities is None:
        return answer.label
    return max(range(len(answer.probabilities)), key=answer.probabilities.__getitem__)


class DecodedEvent(msgspec.Struct, gc=False):
    """A valid event but for its numbers: they may be too large for float32, and in `vector_b64` infinite or all missing.

    That is cheaper to see in the matrix of many events. `time` is an integer, milliseconds since 1970, once decoded.
    """

    event_id: _Id
    time: str | int | float
    client: EventClient
    model: EventModel
    input: EventInput
    output: EventOutput
    latency_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    status: _Int64 | None = None
    sampled_rate: Annotated[float, msgspec.Meta(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record, or one event of it, cannot be used.

    `detail` is for people, at most `DETAIL_CHARACTERS` long. `owner` is whose query it was, where the decoder has read it: the
    query then counts for its client. Without it the decoder is asked for the owner of the whole record. `record` is there where
    it is not the record just decoded but one that was held back. `further` marks the other queries of a call that is refused as
    a whole: they count for the client, and the call has one dead letter.
    """

    reason: Reason
    detail: str
    owner: Owner | None = field(default=None, repr=False)
    record: "Record | None" = field(default=None, repr=False)
    further: bool = field(default=False, repr=False)


class UnusableError(DetectorError):
    """What a record, or a part of it, cannot be used for; a decoder turns it into a `Refusal`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Say why, as in `Refusal`."""
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


def refuse(reason: Reason, detail: str, owner: Owner | None = None) -> Refusal:
    """Return a refusal; a detail that is too long is cut."""
    if len(detail) > DETAIL_CHARACTERS:
        detail = detail[: DETAIL_CHARACTERS - 1] + "…"
    return Refusal(reason, detail, owner)
