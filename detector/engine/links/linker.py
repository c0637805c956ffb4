"""The linker: finds one theft that is spread over many accounts of a model, and says what is to be done about it.

It takes the sketches of all shards in stream order. Queries are compared with those of all accounts (`seeking.search`),
accounts are joined by what was made from what (`groups`), and a group with enough evidence is a *campaign*. Above the low bar
it is a matter for a person: an alert, and nothing else. Above the high bar its accounts that are named are stopped, within the
limits of policy. All follows from the sketches and their order, however they are cut.

Blind to: thieves whose accounts each own a region and ask little, natural inputs (k-center, random choice), and foreign data.
"""

import hashlib
import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from detector.engine.constants import population_of, scales_of
from detector.engine.features.distances import WINDOW
from detector.engine.findings import Outputs
from detector.engine.guard import DAY_MS, StopGuard
from detector.engine.kernels import entry
from detector.engine.links import keeping
from detector.engine.links.chartering import Chartering
from detector.engine.links.deciding import Deciding
from detector.engine.links.groups import LEAST_ACCOUNTS, Groups
from detector.engine.links.joined import Account, Event, Group
from detector.engine.links.latest import Latest
from detector.engine.links.organizations import NOBODY, Organization
from detector.engine.links.seeking.pairs import RECORDS_PAIRED
from detector.engine.links.seeking.records import no_chains
from detector.engine.links.seeking.search import KINDS, NOTHING, Links, links_for, room_for, seek
from detector.engine.links.seeking.steps import no_steps
from detector.engine.links.seeking.store import NEAREST, asking, coordinates_of, empty, near_for
from detector.engine.links.seeking.values import no_values
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.telling import HARD, REVIEW, STOP, Telling
from detector.engine.links.together import Together
from detector.engine.links.usual import COUNTED, EVENTS, LARGEST, Scores, bars_of, worth_of
from detector.engine.memory.reservoir import COORDINATES, RING
from detector.engine.models.reference import Reference
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.policy import BLOCK_SHARE, PolicySettings, vouched
from detector.ingest.batch import Sender

ALERT_FROM = 4  # named accounts from which an alert follows each doubling


class Witness:
    """Is told of each event, and of what organisations ask, for explanations; this one does nothing with it."""

    def linked(self, event: Event, group: Group, linker: "Linker") -> None:
        """Take in an event that changed the evidence of a group, after it was judged."""

    def asked(self, found: Organization, account: Account, time_ms: int, linker: "Linker") -> None:
        """Take in a new query of an account for its organisation, after what that holds was read and judged."""


class Linker:
    """Links the accounts of one model.

    `scores` are what the calibration log showed (`usual`). Where there is a `reference_set`, it is read how much of the model
    the named accounts of a campaign hold together (see `holdings`), and those of an organisation (see `organizations`).
    `secret` keys the numbers of accounts and hashes of records. It must be the same as that of the shards. A `witness`, where
    given, is told of each event.
    """

    def __init__(
        self,
        model: str,
        settings: LinkSettings,
        reference: Reference,
        policy: PolicySettings,
        *,
        scores: Scores = (),
        reference_set: ReferenceSet | None = None,
        secret: int = 0,
        witness: Witness | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.groups = Groups(settings, worth_of(scores))
        self.guard = StopGuard(policy)
        self._width = coordinates_of(reference.projection) if reference.table else COORDINATES
        self.entries = empty(reference.landmarks.shape[1], settings.entries, self._width, table=reference.table)
        self.chains = no_chains(reference.table)
        self.steps = no_steps(reference.table)
        self.values = no_values(reference.table)
        self._arrays = (self.entries, self.chains, self.steps, self.values)
        self._witness = witness
        self._policy = policy
        self._fingerprint = reference.fingerprint
        self._scales = scales_of(reference, RING)
        self._population = population_of(reference, WINDOW)
        self._landmarks = np.ascontiguousarray(reference.landmarks[: self._width], np.float32)
        self._near = near_for(self.entries, RECORDS_PAIRED if reference.table else NEAREST)
        self._room = room_for(int(reference.measured), self._width)
        self._hash_key = hashlib.blake2b(struct.pack("<Q", secret & (2**64 - 1)), digest_size=16).digest()
        self._seed = np.uint64(
            int.from_bytes(hashlib.blake2b(b"records", key=self._hash_key, digest_size=8).digest(), "little")
        )
        self.together = None
        if reference_set is not None:
            latest = Latest(reference_set, settings.entries, int(self._seed))
            self.together = Together(latest, self._number_of, self._is_vouched)
        holdings = None if self.together is None else self.together.holdings
        self.telling = Telling(model, self.groups, bars_of(scores), policy, holdings)
        self._deciding = Deciding(self.telling, self.guard)
        self._chartering = None
        if self.together is not None:
            self._chartering = Chartering(self.telling, self.together.organizations, self.guard)
        self._numbers: dict[str, int] = {}
        self._usual = np.zeros((KINDS, 2), np.float64)  # for calibration; no part of the state
        self._worthless = np.array(self.groups.worth.weights) == 0.0
        self._seek: Callable[..., None] | None = None
        self.changes = 0
        """How often anything happened that `campaigns` and `leads` could tell of: whoever asked them need not ask again."""

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under another policy; decisions in force stay."""
        self._policy = self.telling.policy = policy
        self.guard.adopt(policy)

    @property
    def nbytes(self) -> int:
        """The memory of the arrays, in bytes; accounts and groups come on top."""
        held = 0 if self.together is None else self.together.nbytes
        return held + sum(array.nbytes for part in self._arrays for array in part)

    def process(self, sketches: Sketches) -> Outputs:
        """Take in queries of the model, in stream order; return findings and decisions about campaigns."""
        outputs = Outputs()
        n = len(sketches)
        if n == 0:
            return outputs
        account = np.fromiter(map(self._number, sketches.account), np.uint64, n)
        links = self._sought(sketches, account)
        organizations = [NOBODY] * n if self.together is None else self.together.take(sketches, account, links)
        numbers, uids = account.tolist(), links.uid.tolist()
        links.kind[self._worthless[links.kind]] = NOTHING
        kinds, chained = links.kind.tolist(), links.near[:, 0].tolist()
        new = np.flatnonzero(~links.repeat).tolist()
        self._usual[NOTHING, EVENTS] += len(new)
        times = sketches.time.tolist()
        for i in new:
            asker = self._count(sketches, i, numbers[i], times[i])
            if self.together is not None:
                self.together.advance(uids[i], self.groups)
            if organizations[i] != NOBODY:
                self._charge(organizations[i], asker, sketches, i, uids[i], outputs)
            if kinds[i] == NOTHING and chained[i] == 0:
                continue
            self.changes += 1
            made = [(end[0], end[1], end[2]) for end in (links.one[i].tolist(), links.other[i].tolist()) if end[0]]
            self._note(asker, kinds[i], made)
            event = Event(
                uids[i],
                asker,
                kinds[i],
                int(links.cluster[i]),
                made,
                (chained[i], int(links.near[i, 1])),
                int(sketches.sequence[i]),
                times[i],
                sketches.event_id[i],
                float(links.size[i]),
            )
            group = self.groups.take(event)
            if group is not None:
                self._judge(group, sketches, i, uids[i], outputs)
                if self._witness is not None:
                    self._witness.linked(event, group, self)
                self.groups.expire(event.time_ms)
        if self.together is not None:
            self.together.finish()
        return outputs

    def _sought(self, sketches: Sketches, account: npt.NDArray[np.uint64]) -> Links:
        """Return what the queries were made from, and keep them."""
        links = links_for(len(sketches))
        given = (
            self.entries,
            self.chains,
            self.steps,
            self.values,
            asking(sketches, account, self._width),
            self._landmarks,
            self._scales,
            self._population,
            self._near,
            self._room,
            self._seed,
            links,
        )
        if self._seek is None:
            self._seek = entry(seek, given)
        self._seek(*given)
        return links

    def scores(self) -> list[float]:
        """Return the highest evidence of each group that is large enough for a campaign, the largest first."""
        return sorted((group.highest for group in self._large()), reverse=True)

    def usual(self) -> npt.NDArray[np.float64]:
        """Return what the accounts showed since the linker was made, (KINDS, 2), as the `scores` of another one."""
        found = self._usual.copy()
        for group in self._large():
            found[group.kind, LARGEST] = max(found[group.kind, LARGEST], group.highest)
        return found

    def campaigns(self) -> list[Group]:
        """Return the groups that are campaigns, the one with the latest event last."""
        return [group for group in self.groups.groups.values() if group.level >= REVIEW]

    def leads(self) -> dict[str, float]:
        """Return the highest lead of each organisation that is measured, by name."""
        return {} if self.together is None else self.together.organizations.leads()

    def _large(self) -> list[Group]:
        return [group for group in self.groups.groups.values() if len(group.strong) >= LEAST_ACCOUNTS]

    def _charge(self, number: int, asker: Account, sketches: Sketches, i: int, uid: int, outputs: Outputs) -> None:
        """Count a query for the organisation of its account, and do what its budget calls for."""
        if self.together is None or self._chartering is None:
            return
        self.changes += 1
        time_ms = int(sketches.time[i])
        found = self.together.organizations.asks(number, asker.number, time_ms)
        self._chartering.weigh(found, sketches, i, uid, outputs)
        if self._witness is not None:
            self._witness.asked(found, asker, time_ms, self)

    def _number_of(self, organization: str) -> int:
        return self._number(f"organization\0{organization}")

    def _is_vouched(self, sender: Sender) -> bool:
        return vouched(sender, self._policy)

    def _note(self, asker: Account, kind: int, made: list[tuple[int, int, int]]) -> None:
        """Note for calibration an event across accounts."""
        if kind != NOTHING and (not asker.counts or asker.counts[kind] < COUNTED):
            self._usual[kind, EVENTS] += any(number not in {0, asker.number} for _, number, _ in made)

    def _number(self, key: str) -> int:
        """Return the number of an account: 64 bits that nobody can choose."""
        found = self._numbers.get(key)
        if found is None:
            if len(self._numbers) >= 2 * self.settings.accounts:
                self._numbers.clear()
            digest = hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._hash_key, digest_size=8).digest()
            found = self._numbers[key] = int.from_bytes(digest, "little") | 1
        return found

    def _count(self, sketches: Sketches, i: int, number: int, time_ms: int) -> Account:
        """Count a query of an account, and return the account."""
        found = self.groups.asks(number)
        if found is None:
            sender = sketches.sender[i]
            known = sender.organization if vouched(sender, self._policy) else None
            found = Account(number, sketches.account[i], known, sender.trusted, first_ms=time_ms)
            self.groups.admit(found)
        if time_ms // DAY_MS > found.day:
            found.day = time_ms // DAY_MS
            self.guard.note_active(found.day)
        return found

    def _judge(self, group: Group, sketches: Sketches, i: int, uid: int, outputs: Outputs) -> None:
        """Add to the outputs what the evidence of a group calls for after the query at `i`."""
        if len(group.strong) < LEAST_ACCOUNTS:
            return
        bars = self.telling.bars_for(group)
        self.groups.pool(group, bars.low, bars.high)
        self._usual[group.kind, LARGEST] = max(self._usual[group.kind, LARGEST], group.pooled / 1000.0)
        if group.score <= bars.low and group.level == 0:
            return
        time_ms = int(sketches.time[i])
        self.groups.name(group, time_ms)
        level = REVIEW
        if bars.stops and group.excess and group.pooled > 1000.0 * bars.high:
            level = STOP
        if bars.stops and group.highest > bars.high:
            level = HARD if group.highest > BLOCK_SHARE * bars.high else STOP
        if self._over_budget(group, uid):
            level = HARD
        rises = level > group.level
        group.level = max(group.level, level)
        named = len(group.named)
        if named and (rises or not group.alerted or named >= 2 * max(group.alerted, ALERT_FROM // 2)):
            group.alerted = named
            if self.together is not None:
                self.together.holdings.read(group, self.groups, uid)
            outputs.findings.append(self.telling.finding(group, sketches, i))
        if group.level >= STOP:
            self._deciding.decide(group, sketches, i, outputs)

    def _over_budget(self, group: Group, uid: int) -> bool:
        """Read the odometer of a campaign where that is due; tell whether its accounts hold as much as all campaigns may."""
        if self.together is None:
            return False
        holdings = self.together.holdings
        if holdings.is_due(group):
            holdings.read(group, self.groups, uid)
        limit = self._policy.campaign_stop_at
        return limit is not None and holdings.meets(group.number, limit)

    def snapshot(self) -> bytes:
        """Return the whole state. A linker that `restore` was called on with it goes on byte for byte the same."""
        held = None if self.together is None else self.together.state()
        return keeping.pack_linker(self._fingerprint, self._arrays, self.groups, self.guard.state(), held)

    def restore(self, saved: bytes) -> None:
        """Restore what `snapshot` returned, into a linker of the same model and baseline.

        Raises `SnapshotError` for damaged bytes, and for a snapshot of another reference or other sizes: go on without it then.
        """
        arrays, groups, guard, held_together = keeping.unpack_linker(saved, self._fingerprint, self._arrays, self.settings)
        held = (kept for part in self._arrays for kept in part)
        for kept, array in zip(held, arrays, strict=True):
            kept[...] = array
        groups.worth = self.groups.worth
        self.groups = self.telling.groups = groups
        self.guard.restore(guard)
        if self.together is not None:
            self.together.restore(held_together)
