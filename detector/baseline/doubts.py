"""Doubts: calibration clients that would be acted on under the thresholds that they were calibrated with.

Every client in the log of a fit counts as benign, but nobody has looked at all of them. One may be a thief, or a sensor unlike
any other. Thresholds do not follow such a client (see `engine.policy`); here it is named, so that a person looks at it.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.account import account_of
from detector.engine.evidence.accumulate import CHANNELS, FLOORS, MAY_STOP
from detector.engine.models.novelty import Calibrated
from detector.engine.policy import ALERT, ALERT_SHARE, PolicySettings, Thresholds, thresholds_for
from detector.names import printable

NOVELTY = "novelty"
LISTED = 20


def doubts(
    names: Sequence[str], calibrated: Calibrated, channel_scores: npt.NDArray[np.float64], policy: PolicySettings
) -> list[dict[str, Any]]:
    """Return the calibration clients with evidence that is alerted on or stopped, the highest share of a threshold first.

    `names` are the keys of their accounts. An entry has the ``client``, its ``profile`` and how many clients that has, the
    ``evidence``, its ``score`` and the ``threshold`` that it passed. ``only_alerts`` says that so many clients passed it that
    the channel may only alert.
    """
    found = thresholds_for(policy, calibrated.norms.session_scores, channel_scores)
    scores, heights = _compared(calibrated, channel_scores, found)
    entries = []
    for i, j in zip(*np.nonzero(scores > heights), strict=True):
        own = int(calibrated.profile[i])
        entries.append(
            {
                "client": account_of(names[i]).client,
                "profile": own,
                "profile_clients": int(np.count_nonzero(calibrated.profile == own)),
                "evidence": [*CHANNELS, NOVELTY][j],
                "score": round(float(scores[i, j]), 3),
                "threshold": round(float(heights[j]), 3),
                "only_alerts": bool(j < len(CHANNELS) and MAY_STOP[j] and found.limit[j] == ALERT),
            }
        )
    return sorted(entries, key=lambda entry: (-entry["score"] / entry["threshold"], entry["client"]))[:LISTED]


def set_aside(
    names: Sequence[str], calibrated: Calibrated, channel_scores: npt.NDArray[np.float64], policy: PolicySettings
) -> frozenset[str]:
    """Return all calibration clients that `doubts` is about, also those beyond the longest list, by client id."""
    found = thresholds_for(policy, calibrated.norms.session_scores, channel_scores)
    scores, heights = _compared(calibrated, channel_scores, found)
    return frozenset(account_of(names[i]).client for i in np.flatnonzero((scores > heights).any(axis=1)).tolist())


def _compared(
    calibrated: Calibrated, channel_scores: npt.NDArray[np.float64], found: Thresholds
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scores of each client (clients, channels and novelty), and the height that makes each a doubt."""
    passed = np.where(MAY_STOP, FLOORS, ALERT_SHARE * np.asarray(found.stop))
    return np.column_stack([channel_scores, calibrated.score]), np.append(passed, found.alert)


def tell(notes: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each doubtful client in the notes of a model, with what to do; older baselines have none."""
    for entry in notes.get("set_aside", ()):
        evidence, client = entry["evidence"], printable(entry["client"])
        argument = shlex.quote(client)  # clients choose their names, and people paste commands
        despite = " --despite-construction" if evidence in CHANNELS and MAY_STOP[CHANNELS.index(evidence)] else ""
        follows = (
            f"too many clients passed it, so {evidence} may only alert"
            if entry["only_alerts"]
            else "it is set aside: no threshold follows it"
        )
        yield (
            f"{client} (profile {entry['profile']}, {entry['profile_clients']} clients) has {evidence} {entry['score']:.1f}, "
            f"above {entry['threshold']:.1f}; {follows}. Review it. If it may be a thief, fit again with --exclude {argument}; "
            f"if it is innocent, `baseline accept {argument}{despite}` makes its kind known"
        )
