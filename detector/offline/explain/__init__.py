"""Explaining: why a client was alerted on, throttled or stopped, or why not, in words and numbers.

A folder of results says what was found, not everything that was seen. So the logs that its summary names are run through the
engine once more, under the same configuration and baseline, with an observer that traces the one client. Every figure here
is the engine's own. Where the folder and the second run differ, because a log, the configuration or the baseline has changed,
the explanation says so.

- `rerun`: from a folder of results to an `Explanation`
- `results`: what the folder recorded
- `case`: the evidence of each kind and the features, from the trace
- `remarks`: the headline, the advice and the warnings
- `stops`: stops that were held back or simulated
- `explanation`: the data, and as JSON
- `terminal`: the same for people
- `words`: what every kind of evidence and every feature means
"""

from detector.offline.explain.explanation import Explanation, to_dict
from detector.offline.explain.rerun import explain
from detector.offline.explain.terminal import tell

__all__ = ["Explanation", "explain", "tell", "to_dict"]
