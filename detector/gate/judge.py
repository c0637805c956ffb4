"""What a request gets: its client's decision, with the rate of a throttle, then the ceilings for everybody."""

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from detector.clock import Clock
from detector.config.gate import GateSection
from detector.contracts.decision import LADDER
from detector.contracts.network import network_of
from detector.gate.buckets import Buckets
from detector.gate.identity import Identity, subject_of
from detector.gate.paths import model_finder, plain_path
from detector.gate.shelf import Shelf
from detector.gate.store import BLOCK, THROTTLE, Found, Who
from detector.gate.verdict import PASSES, Cause, Verdict

__all__ = ["Judge", "Judged", "Question"]

THROTTLED: Final = 429
BLOCKED: Final = 403
BURST_S: Final = 10.0  # of a throttle's rate at once
MATCHED: Final = 100_000  # decisions that are remembered as met
PATHS: Final = 4096  # that are read once
LONG: Final = 256  # characters of one that is not
CEILING_BURST_S: Final = 1.0  # of the ceiling's


class Question(NamedTuple):
    """The headers of a request that matter, each with every value it has, and the path asked for."""

    client: Sequence[bytes]
    uri: str | None
    model: Sequence[bytes] = ()
    organization: Sequence[bytes] = ()
    address: Sequence[bytes] = ()


class Judged(NamedTuple):
    """A verdict, with what the log and the metrics need."""

    verdict: Verdict
    client: str = ""
    model: str | None = None
    simulated: str | None = None


class Judge:
    """Answers questions from what is in memory; for one thread."""

    def __init__(
        self,
        section: GateSection,
        shelf: Shelf,
        identity: Identity,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Judge by the shelf's store; rates are divided among the configured replicas."""
        self._section = section
        self._shelf = shelf
        self._identity = identity
        self._clock = clock
        self._monotonic = monotonic
        find_model = model_finder(section.model_pattern)

        def read(uri: str) -> tuple[str | None, str | None]:
            path = plain_path(uri)
            return path, None if path is None else find_model(path)

        self._read = read
        self._read_once = lru_cache(PATHS)(read)
        self._throttles = Buckets()
        self._ceilings = Buckets()
        self._model_ceilings = Buckets()
        self.matched: set[str] = set()

    def judge(self, question: Question) -> Judged:
        """Return the verdict on a request, and use up a part of its rates."""
        section = self._section
        path, model = self._place(question.uri)
        if section.model_header is not None:
            model = (subject_of(question.model[0]) or None) if len(question.model) == 1 else None
        if len(question.client) != 1 or not question.client[0].strip():
            repeated = len(question.client) > 1
            answer = section.repeated_identity if repeated else section.missing_identity
            cause: Cause = "repeated_identity" if repeated else "no_identity"
            return self._unnamed(answer, cause, 400 if repeated else 401, model)
        member = self._identity.member(question.client[0])
        if member is None:
            return self._unnamed(section.missing_identity, "unknown_identity", 401, model)
        if member.client == section.canary:
            return Judged(Verdict("block", BLOCKED, "canary"), member.client, model)
        if not self._shelf.answers:
            return self._unready(member.client, model)
        address = subject_of(question.address[0]) if len(question.address) == 1 else None
        organization = subject_of(question.organization[0]) if len(question.organization) == 1 else member.organization
        who = Who(member.client, organization, member.campaigns, address, network_of(address or ""))
        found = self._shelf.store.find(who, model, self._clock.now_ms(), path)
        judged = self._decided(found, member.client, model)
        if found.simulated > found.rank:
            return Judged(judged.verdict, judged.client, judged.model, LADDER[found.simulated])
        return judged

    def _place(self, uri: str | None) -> tuple[str | None, str | None]:
        """Return the plain path, and the model that it names; long ones are not remembered, since callers write them."""
        if uri is None:
            return None, None
        return self._read_once(uri) if len(uri) <= LONG else self._read(uri)

    def _unready(self, client: str, model: str | None) -> Judged:
        if self._section.unready == "refuse":
            # Not 5xx, which Envoy reads as a fault of the gate's and may open on.
            return Judged(Verdict("allow", THROTTLED, "unready", 1), client, model)
        return self._under_ceilings(Verdict("allow", PASSES, "unready"), client, model)

    def _unnamed(self, answer: str, cause: Cause, status: int, model: str | None) -> Judged:
        if answer == "refuse":
            return Judged(Verdict("allow", status, cause), "", model)
        return self._under_ceilings(Verdict("allow", PASSES, cause), "", model)

    def _decided(self, found: Found, client: str, model: str | None) -> Judged:
        if found.key and len(self.matched) < MATCHED:
            self.matched.add(found.key)
        if found.rank == BLOCK:
            status = found.details.status_code or BLOCKED
            # A status of 5xx would read as a fault of the gate's, which gateways may open on.
            return Judged(Verdict("block", status if 400 <= status < 500 else BLOCKED, "decision"), client, model)
        # The throttle comes first: a request that it refuses must not use up the rate that all clients of a model share.
        if found.rank == THROTTLE and (wait_s := self._throttle(found)):
            return Judged(Verdict("throttle", THROTTLED, "decision", math.ceil(wait_s)), client, model)
        return self._under_ceilings(Verdict(LADDER[found.rank], PASSES, "decision" if found.key else "none"), client, model)

    def _throttle(self, found: Found) -> float:
        """Return for how many seconds a throttled request is refused: 0.0 where it passes."""
        asked_s = float(found.details.retry_after_seconds or 0)
        per_second = (found.details.requests_per_minute or 0) / 60.0 / self._section.replicas
        if per_second <= 0.0:
            return max(asked_s, 60.0)
        wait_s = self._throttles.take(found.key, per_second, max(1.0, BURST_S * per_second), self._monotonic())
        return max(wait_s, asked_s) if wait_s else 0.0

    def _under_ceilings(self, verdict: Verdict, client: str, model: str | None) -> Judged:
        """Return the verdict, or that the ceiling is reached; a request that is refused takes nothing from the model's."""
        now_s = self._monotonic()
        share = 1.0 / self._section.replicas
        if client and self._section.requests_per_second is not None:
            rate = self._section.requests_per_second * share
            wait_s = self._ceilings.take(f"{client}\0{model or ''}", rate, max(1.0, CEILING_BURST_S * rate), now_s)
            if wait_s:
                return Judged(Verdict("throttle", THROTTLED, "ceiling", math.ceil(wait_s)), client, model)
        if self._section.model_requests_per_second is not None:
            rate = self._section.model_requests_per_second * share
            wait_s = self._model_ceilings.take(model or "", rate, max(1.0, CEILING_BURST_S * rate), now_s)
            if wait_s:
                return Judged(Verdict("throttle", THROTTLED, "model_ceiling", math.ceil(wait_s)), client, model)
        return Judged(verdict, client, model)
