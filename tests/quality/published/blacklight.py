"""Blacklight, which fingerprints inputs so that near-identical ones share most of their fingerprint.

Values are shifted by a secret salt, rounded to multiples of 50 (of 255), and every window of 20 neighbouring ones is hashed
by SHA-256. Of the distinct hashes the 50 largest are kept, in an order that nobody without the salt can foresee. Two inputs
with half of their hashes in common are taken for steps of one attack.

Source: H. Li, S. Shan, E. Wenger, J. Zhang, H. Zheng, B. Zhao, "Blacklight: Scalable Defense for Neural Networks against
Query-Based Black-Box Attacks", USENIX Security 2022 (arXiv 2006.14042). The authors' reference code decides on details:
rounding before hashing is to the nearest multiple, half to even; hexadecimal digests are reversed before they are sorted;
windows are counted by ``(length - window + 1) / step``; the salt is added modulo 255.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tests.quality.published.interface import Array, Session


class Blacklight:
    """Blacklight; the score of a query is how many hashes it shares with the earlier query that it is most like.

    When it works: the attack takes small steps from one input (HopSkipJump, ZOO, line search near its end). When it does not:
    queries that are natural or far apart. Innocent repeats, video and load tests are flagged at their second query. Pictures
    of fewer than 69 values have fewer than 50 windows, so that the same threshold asks for more.

    As published the memory is shared by all accounts and never emptied; then an innocent who asks about a picture that somebody
    asked about before is flagged, and figures depend on the order in which clients are played. With ``shared=False`` each
    client is compared with itself.

    Parameters
    ----------
    value_range
        What the values lie in; it is mapped to 0..255.
    window, quantum, kept, step
        Values to a hash, rounding (of 255), hashes kept, values from window to window: 20, 50, 50 and 1 for CIFAR10.
    matches
        Flagged from this many equal hashes on.

    """

    def __init__(
        self,
        value_range: tuple[float, float],
        *,
        window: int = 20,
        quantum: int = 50,
        kept: int = 50,
        step: int = 1,
        matches: int = 25,
        shared: bool = True,
        seed: int = 666,
    ) -> None:
        """Start with an empty memory; the salt is drawn when the first query tells its length."""
        if value_range[1] <= value_range[0]:
            raise ValueError(f"the value range {value_range} is empty")
        if min(window, quantum, kept, step, matches) < 1:
            raise ValueError("window, quantum, kept, step and matches are at least 1")
        self.value_range = value_range
        self.window, self.quantum, self.kept, self.step = window, quantum, kept, step
        self.threshold = float(matches - 1)
        self.shared = shared
        self._rng = np.random.default_rng(seed)
        self._salt: Array | None = None
        self._store = _Store()

    def fit(self, sessions: Sequence[Session]) -> None:
        """Forget all queries; nothing is learned from benign traffic."""
        del sessions
        self._store = _Store()

    def watch(self) -> "_BlacklightWatch":
        """Begin to watch a client, with the memory of all clients or one of its own."""
        return _BlacklightWatch(self, self._store if self.shared else _Store())

    def fingerprint(self, vector: Array) -> list[str]:
        """The kept hashes of an input, largest first. Raises ValueError if its length is not that of earlier ones."""
        if self._salt is None:
            self._salt = self._rng.random(len(vector)) * 255.0
        if len(vector) != len(self._salt):
            raise ValueError(f"a query of {len(vector)} values, where earlier ones had {len(self._salt)}")
        low, high = self.value_range
        shifted = ((vector - low) / (high - low) * 255.0 + self._salt) % 255.0
        rounded = (np.around(shifted / self.quantum) * self.quantum).astype(np.int16)
        count = int((len(rounded) - self.window + 1) / self.step)
        places = range(0, max(count, 0) * self.step, self.step)
        hashes = {hashlib.sha256(rounded[at : at + self.window].tobytes()).hexdigest()[::-1] for at in places}
        return sorted(hashes, reverse=True)[: self.kept]


class _Store:
    """Which earlier queries had a hash."""

    def __init__(self) -> None:
        self.owners: defaultdict[str, list[int]] = defaultdict(list)
        self.queries = 0


class _BlacklightWatch:
    def __init__(self, detector: Blacklight, store: _Store) -> None:
        self._detector = detector
        self._store = store

    def observe(self, vector: Array, answer: Array) -> float:
        """Take a query; return how many hashes the most similar earlier one shares with it, 0 for the first."""
        del answer
        hashes = self._detector.fingerprint(vector)
        owners = self._store.owners
        common = Counter(owner for digest in hashes if digest in owners for owner in owners[digest])
        for digest in hashes:
            owners[digest].append(self._store.queries)
        self._store.queries += 1
        return float(max(common.values(), default=0))
