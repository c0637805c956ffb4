"""The record: what the prediction log says of a perturbed answer."""

from collections.abc import Sequence
from typing import Any

from detector.perturb.keys import MarkName
from detector.perturb.modes import How

__all__ = ["answer_fields", "output_fields"]


def output_fields(
    original: Sequence[float],
    told: Sequence[float],
    how: How,
    labels: Sequence[str] | None = None,
    mark: MarkName | None = None,
) -> dict[str, Any]:
    """Return `output` of a prediction event for an answer that was perturbed.

    `output` is what the client was told; `output.original` is what the model said, which evidence reads, and
    `output.perturbed` says how, with the `mark` of ownership that it bears. Without these a perturbed answer looks like the
    model's own to the detector.

    >>> fields = output_fields([0.25, 0.75], [0.48, 0.52], How("top1"), ["no", "yes"])
    >>> fields["label"], fields["perturbed"], fields["original"]
    ('yes', {'mode': 'top1'}, {'label': 'yes', 'probabilities': [0.25, 0.75]})
    """
    key = {} if how.key_id is None else {"key_id": how.key_id}
    return {
        **answer_fields(told, labels),
        "perturbed": {"mode": how.mode, **key, **({} if mark is None else {"mark": mark._asdict()})},
        "original": answer_fields(original, labels),
    }


def answer_fields(values: Sequence[float], labels: Sequence[str] | None) -> dict[str, Any]:
    """Return an answer as the log has it."""
    at = max(range(len(values)), key=values.__getitem__)
    return {"label": at if labels is None else labels[at], "probabilities": list(values)}
