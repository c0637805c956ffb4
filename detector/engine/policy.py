"""Policy: from evidence to action, within budgets of false alarms.

There are three kinds of evidence, which are not interchangeable. Novelty (unlike every known benign client) may lead to an
alert and to a throttle. Construction (queries made from earlier queries) may also stop: perturb, then block. Harm (how good a
copy of the model the client could have, see `engine.odometer`) stops where the operator has set a budget for it. "Stopped"
means perturbed or blocked.

The operator sets a budget: false alerts per 1,000 client-days, and false blocks per 10,000 client-days. The thresholds that
keep it come from the calibration clients, with one score each, the highest of its session. A threshold is the score that no
more of them pass than the budget allows. Novelty has two ways to alert, its score and its channels, and each gets half the
budget. Where the budget is finer than the number of calibration clients can show, the threshold is raised above their scores.
Construction also has floors, for benign traffic that the calibration has not seen.

One calibration client may be a thief, or odd. So no threshold follows the highest score alone, and one client above a floor
does not take a channel's right to stop away: it is set aside, and `baseline fit` names it. Several do, and so does a single one
that a person has reviewed.

A thief's made-up or foreign data look foreign from his first query on. Innocent clients of a kind that calibration has not seen
gather as much evidence over some hundred queries. So in a client's first `OPENING` queries some channels of novelty have lower
floors (`opening_floor`). What calibration demands holds there, too.

Two channels that see different things in the same queries may convict together. Where a channel declares `company`, its
evidence at its own threshold lets the named channels of construction stop a client on `COMPANY_SHARE` of theirs. The channel
alone still does not stop.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import CHANNELS, FLOORS, MAY_STOP, OPENING_FLOORS
from detector.engine.evidence.registry import REGISTRY
from detector.ingest.batch import Sender

ALLOW, ALERT, THROTTLE, PERTURB, BLOCK = range(5)
ACTIONS = ("allow", "alert", "throttle", "perturb", "block")

ALERT_SHARE = 0.75  # alert threshold of construction, as a share of the stop threshold: it alerts before it stops
BLOCK_SHARE = 1.5  # block threshold, as a multiple of the stop threshold, at which queries are perturbed
THROTTLE_SHARE = 1.25  # throttle threshold of novelty, as a multiple of its alert threshold
LEAST_NOVELTY = 1.2
UNCALIBRATED_NOVELTY = 3.0
WAYS_TO_ALERT = 2  # novelty alerts by its score and by its channels, which share the budget
LEAST_RANK = 2  # highest score that a threshold may follow: the second, since one client may be a thief, or odd
BY_CHANCE = 0.01  # share of baselines in which more calibration clients than `tolerated` pass a threshold that keeps the budget
# Score increase per tenfold lower exceedance rate, used to extrapolate beyond the calibration sample. For evidence it follows
# from the logarithm of odds; for novelty it was measured between the top 10% and the top 1% of the clients.
EVIDENCE_TAIL = math.log(10.0)
NOVELTY_TAIL = 0.7
PATIENCE = 2
OPENING = 50  # first queries of a client, in which a channel's opening floor holds
COMPANY_SHARE = 0.6  # of the stop threshold, from which construction stops a client in company: below its alert threshold
COMPANIONS = tuple(tuple(j for j, other in enumerate(REGISTRY) if channel.name in other.company) for channel in REGISTRY)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The scores at which an action is taken; `stop` has one entry per channel of evidence.

    `limit` is the hardest action that each channel may lead to. A channel of construction may stop a client only if benign
    clients stay below its floor: where more than `tolerated` passed it in calibration, or one that was reviewed, the channel
    may only alert. A channel of novelty throttles at its `stop`, and no more. `conduct` is the evidence at which refused
    queries or reused ids are alerted on. `opening` has the entries of `stop` that hold in a client's first queries; None where
    they are the same.
    """

    alert: float
    throttle: float
    stop: tuple[float, ...]
    limit: tuple[int, ...] = (BLOCK,) * len(CHANNELS)
    conduct: float = math.inf
    opening: tuple[float, ...] | None = None

    def after(self, queries: int) -> "Thresholds":
        """Return what holds after so many of a client's queries.

        >>> found = Thresholds(alert=2.0, throttle=2.5, stop=(24.0,), opening=(16.0,))
        >>> found.after(OPENING).stop, found.after(OPENING + 1).stop
        ((16.0,), (24.0,))
        """
        return self if self.opening is None or queries > OPENING else replace(self, stop=self.opening, opening=None)


@dataclass(frozen=True, slots=True)
class Budget:
    """The leads (see `engine.odometer`) from which a client is told labels only, and is blocked; None: never."""

    degrade_at: float | None = None
    stop_at: float | None = None

    @property
    def limit(self) -> float | None:
        """The lead that the budget allows; None where it allows any."""
        limits = [limit for limit in (self.degrade_at, self.stop_at) if limit is not None]
        return min(limits, default=None)

    def action(self, lead: float) -> int:
        """Return the action that a lead calls for.

        >>> budget = Budget(degrade_at=0.65, stop_at=0.8)
        >>> [ACTIONS[budget.action(lead)] for lead in (0.6, 0.65, 0.8)], ACTIONS[Budget().action(1.0)]
        (['allow', 'perturb', 'block'], 'allow')
        """
        if self.stop_at is not None and lead >= self.stop_at:
            return BLOCK
        return PERTURB if self.degrade_at is not None and lead >= self.degrade_at else ALLOW

    def within(self, other: "Budget") -> "Budget":
        """Return the budget that allows what both allow.

        >>> Budget(degrade_at=0.9, stop_at=0.95).within(Budget(degrade_at=0.5))
        Budget(degrade_at=0.5, stop_at=0.95)
        """
        pairs = ((self.degrade_at, other.degrade_at), (self.stop_at, other.stop_at))
        return Budget(*(min((limit for limit in pair if limit is not None), default=None) for pair in pairs))


@dataclass(frozen=True, slots=True)
class Tier:
    """Clients with a budget of their own: those that are in every one of these sets; None is a set of all.

    `together` is the budget of each organisation of the tier, for what all of its accounts hold.
    """

    budget: Budget
    models: frozenset[str] | None = None
    clients: frozenset[str] | None = None
    organizations: frozenset[str] | None = None
    types: frozenset[str] | None = None
    together: Budget = Budget()

    def holds(self, model: str, client: str, sender: Sender) -> bool:
        """Tell whether a client of a model, as this query describes it, is in the tier."""
        pairs = (
            (self.models, model),
            (self.clients, client),
            (self.organizations, sender.organization),
            (self.types, sender.type),
        )
        return all(some is None or one in some for some, one in pairs)

    def holds_organization(self, model: str, organization: str) -> bool:
        """Tell whether a whole organisation is in the tier: some of its clients, or those of a type, are not."""
        whole = self.clients is None and self.types is None
        pairs = ((self.models, model), (self.organizations, organization))
        return whole and all(some is None or one in some for some, one in pairs)

    @property
    def is_claimed(self) -> bool:
        """Whether what a query says of its client decides who is in the tier."""
        return any(some is not None for some in (self.clients, self.organizations, self.types))


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The operator's policy, as the engine needs it; durations are in milliseconds.

    `trust_clients` says whether an identity counts as vouched for where the record does not say. `shadow_channels` are types of
    evidence by name. `shadow_models` and `live_models` are the models for which `shadow` does not hold as it is. 0 for
    `new_stops_per_minute` and 1 for `stopped_share` are no limits; see `guard`. `budget` is that of clients that are in none of
    the `tiers`. `campaign_stop_at` is the lead from which the accounts of a campaign under review are blocked, held together,
    None: never. `organizations` is the budget of an organisation that is in none of the tiers. Where the odometer measures a
    model, novelty throttles only clients whose lead is `throttle_from` or more. `halving_lead` and `least_rate` say how the
    rate of a throttle falls, see `rate_at`.
    """

    shadow: bool = True
    false_alerts_per_1000: float = 1.0
    false_blocks_per_10000: float = 1.0
    never_block: frozenset[str] = frozenset()
    trust_clients: bool = True
    throttle_ms: int = 3_600_000
    perturb_ms: int = 6 * 3_600_000
    block_ms: int = 24 * 3_600_000
    requests_per_minute: int = 30
    never_block_organizations: frozenset[str] = frozenset()
    shadow_channels: frozenset[str] = frozenset()
    shadow_models: frozenset[str] = frozenset()
    live_models: frozenset[str] = frozenset()
    new_stops_per_minute: int = 0
    stopped_share: float = 1.0
    budget: Budget = Budget()
    tiers: tuple[Tier, ...] = ()
    throttle_from: float = 0.0
    campaign_stop_at: float | None = None
    halving_lead: float | None = None
    least_rate: int = 1
    organizations: Budget = Budget()

    @property
    def version(self) -> str:
        """Twelve hex digits that change with any of the settings."""
        return _version(self)

    def simulates(self, model: str, evidence: str) -> bool:
        """Tell whether decisions about a model's clients are simulated, where they follow from this evidence.

        >>> settings = PolicySettings(live_models=frozenset({"fraud"}), shadow_channels=frozenset({"foreign"}))
        >>> [settings.simulates(*pair) for pair in (("fraud", "offset"), ("fraud", "foreign"), ("digits", "offset"))]
        [False, True, True]
        """
        if evidence in self.shadow_channels or model in self.shadow_models:
            return True
        return self.shadow and model not in self.live_models

    @property
    def budgeted(self) -> bool:
        """Whether any client has a budget."""
        return any(budget.limit is not None for budget in (self.budget, *(tier.budget for tier in self.tiers)))

    def budget_of(self, model: str, client: str, sender: Sender) -> Budget:
        """Return the budget of a client: that of the first tier that it is in.

        Whoever is not vouched for may have written anything about himself, and no more is allowed to him by that.
        """
        holding = [tier for tier in self.tiers if tier.holds(model, client, sender)]
        budget = holding[0].budget if holding else self.budget
        if vouched(sender, self):
            return budget
        return budget.within(next((tier.budget for tier in holding if not tier.is_claimed), self.budget))

    def rate_at(self, lead: float) -> int:
        """Return the requests a minute of a throttled client with this lead: halved at each multiple of `halving_lead`.

        It is rounded down, and not brought below `least_rate`. A lead that is not known is 0.

        >>> settings = PolicySettings(requests_per_minute=30, halving_lead=0.1, least_rate=2)
        >>> [settings.rate_at(lead) for lead in (0.0, 0.09, 0.1, 0.3, 0.95)], PolicySettings().rate_at(0.95)
        ([30, 30, 15, 3, 2], 30)
        """
        if self.halving_lead is None:
            return self.requests_per_minute
        halvings = int(lead / self.halving_lead + 1e-9)  # so that 0.3 is the third multiple of 0.1
        return min(self.requests_per_minute, max(self.requests_per_minute >> halvings, self.least_rate))

    def organization_budget(self, model: str, organization: str) -> Budget:
        """Return the budget of an organisation for what its accounts hold together: that of the first tier that it is in."""
        found = (tier.together for tier in self.tiers if tier.holds_organization(model, organization))
        return next(found, self.organizations)

    def protects(self, client: str, organization: str | None) -> bool:
        """Tell whether the operator's lists say that a client is throttled at most."""
        return client in self.never_block or organization in self.never_block_organizations


@lru_cache(64)
def _version(policy: PolicySettings) -> str:
    content = json.dumps(asdict(policy), sort_keys=True, default=sorted)  # sets have no order of their own
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def threshold(scores: Sequence[float] | npt.NDArray[np.float64], rate: float, tail: float, reviewed: float = 0.0) -> float:
    """Return the score that at most a share `rate` of clients like the calibration clients pass.

    With m calibration clients a new client passes the k-th highest score with probability k / (m + 1) (split conformal
    prediction, Vovk et al., 2005). The threshold is the k-th highest score for which this is `rate`, but never the highest:
    whoever has it would set the threshold alone. So one more client, whatever its score, raises the threshold at most to the
    highest score that was there before (and by what follows).

    Where the second highest score is passed more often than `rate` allows, it is raised by `tail` for every power of ten that
    is missing. That is an extrapolation, not a guarantee. The guarantee holds from `rate` = 2 / (m + 1) on.

    `reviewed` is the highest score of those clients that a person found innocent. It counts even where it is the highest.

    >>> threshold([3.0, 2.0, 1.0], 0.5, 0.4), threshold([4.0, 3.0, 1.0], 0.005, 0.4)
    (2.0, 3.8)
    """
    ordered = sorted((float(score) for score in scores), reverse=True)
    if not ordered:
        return 0.0
    allowed = rate * (len(ordered) + 1)
    least = 1 if reviewed >= ordered[0] else LEAST_RANK
    rank = min(max(math.floor(allowed + 1e-9), least), len(ordered))
    return ordered[rank - 1] + tail * max(math.log10(rank / allowed), 0.0)


def tolerated(clients: int, rate: float) -> int:
    """Return how many calibration clients may pass a threshold that innocent clients pass at this `rate`.

    More of them show that the threshold does not hold: innocent clients alone exceed this number in 1 of 100 baselines at most.
    One is always tolerated, since nobody knows whether it is innocent.

    >>> [tolerated(clients, 1e-4) for clients in (20, 150, 2_000, 20_000)]
    [1, 1, 2, 6]
    """
    chance = -rate * clients  # Poisson, which is above the binomial here; a logarithm, since many clients make it tiny
    beyond, passed = 1.0 - math.exp(chance), 0
    while beyond > BY_CHANCE:
        passed += 1
        chance += math.log(rate * clients / passed)
        beyond -= math.exp(chance)
        if passed >= clients:
            break
    return max(passed, 1)


def thresholds_for(
    policy: PolicySettings,
    novelty_scores: Sequence[float] | npt.NDArray[np.float64] | None,
    channel_scores: npt.NDArray[np.float64] | None,
    reviewed: int = 0,
) -> Thresholds:
    """Return the thresholds for calibration scores: `novelty_scores` (clients,), `channel_scores` (clients, channels).

    The last `reviewed` clients are those that a person found innocent (`baseline accept`). None stands for a model without a
    baseline: construction then stops at its floors, and novelty can only alert.
    """
    false_blocks = max(policy.false_blocks_per_10000, 1e-6) / 10_000
    false_alerts = max(policy.false_alerts_per_1000, 1e-6) / 1_000 / WAYS_TO_ALERT
    stop = []
    opening = []
    limit = []
    for j in range(len(CHANNELS)):
        scores = channel_scores[:, j] if channel_scores is not None else np.zeros(0)
        known = scores[len(scores) - reviewed :].max(initial=0.0)
        if MAY_STOP[j]:
            passed = np.count_nonzero(scores > FLOORS[j])
            limit.append(BLOCK if known <= FLOORS[j] and passed <= tolerated(len(scores), false_blocks) else ALERT)
            demanded = 1.2 * threshold(scores, false_blocks, EVIDENCE_TAIL, known)
        else:
            limit.append(THROTTLE)
            demanded = threshold(scores, false_alerts, EVIDENCE_TAIL, known) / ALERT_SHARE
        stop.append(max(float(FLOORS[j]), demanded))
        opening.append(max(float(OPENING_FLOORS[j]), demanded))
    conduct = -math.log(min(false_alerts, 0.5))  # the evidence is the logarithm of an e-value
    if novelty_scores is None:
        return Thresholds(UNCALIBRATED_NOVELTY, math.inf, tuple(stop), tuple(limit), conduct, tuple(opening))
    alert = max(LEAST_NOVELTY, threshold(novelty_scores, false_alerts, NOVELTY_TAIL))
    return Thresholds(alert, THROTTLE_SHARE * alert, tuple(stop), tuple(limit), conduct, tuple(opening))


def construction_action(score: float, stop: float) -> int:
    """Return the action that a channel's evidence calls for.

    >>> [ACTIONS[construction_action(score, 16.0)] for score in (10.0, 12.0, 16.0, 24.0)]
    ['allow', 'alert', 'perturb', 'block']
    """
    if score >= BLOCK_SHARE * stop:
        return BLOCK
    if score >= stop:
        return PERTURB
    return ALERT if score >= ALERT_SHARE * stop else ALLOW


def companion_of(channel: int, peak: npt.NDArray[np.float32], thresholds: Thresholds) -> int | None:
    """Return the channel whose company lets this one stop a client, None where there is none.

    `peak` (channels,) is the client's evidence.
    """
    if peak[channel] < COMPANY_SHARE * thresholds.stop[channel]:
        return None
    return next((other for other in COMPANIONS[channel] if peak[other] >= thresholds.stop[other]), None)


def channel_action(channel: int, peak: npt.NDArray[np.float32], thresholds: Thresholds) -> int:
    """Return the action that a channel's evidence calls for, by itself or in company."""
    action = construction_action(float(peak[channel]), thresholds.stop[channel])
    if companion_of(channel, peak, thresholds) is not None:
        action = max(action, PERTURB)
    return min(action, thresholds.limit[channel])


def with_company(channels: Sequence[int]) -> list[int]:
    """Return the channels that have to be judged when these have new evidence: they, and those whose company one of them is."""
    return [j for j, companions in enumerate(COMPANIONS) if j in channels or any(other in channels for other in companions)]


def novelty_action(score: float, evaluations_in_a_row: int, thresholds: Thresholds) -> int:
    """Return the action that a novelty score calls for; never more than a throttle.

    A client is throttled at once when it passes the throttle threshold. If there is one, a client is also throttled when it
    passes the alert threshold at a second evaluation in a row (`evaluations_in_a_row` includes this one).

    >>> two = Thresholds(alert=2.0, throttle=2.5, stop=())
    >>> [ACTIONS[novelty_action(score, in_a_row, two)] for score, in_a_row in ((1.9, 0), (2.1, 1), (2.1, 2), (2.6, 1))]
    ['allow', 'alert', 'throttle', 'throttle']
    """
    if score >= thresholds.throttle or (evaluations_in_a_row >= PATIENCE and math.isfinite(thresholds.throttle)):
        return THROTTLE
    return ALERT if score >= thresholds.alert else ALLOW


def permitted(action: int, *, trusted: bool, protected: bool) -> int:
    """Return the action, reduced to a throttle where nothing harder is permitted.

    A client whose identity the gateway does not vouch for is throttled at most; otherwise a forger could get a victim blocked
    or given wrong answers. So is a client on the operator's never-block list.
    """
    return action if trusted and not protected else min(action, THROTTLE)


def vouched(sender: Sender, policy: PolicySettings) -> bool:
    """Tell whether the query's identity is one that the caller cannot have forged."""
    return policy.trust_clients if sender.trusted is None else sender.trusted


def lasts_ms(action: int, policy: PolicySettings) -> int:
    """Return how long an action stays in force, in milliseconds."""
    return {THROTTLE: policy.throttle_ms, PERTURB: policy.perturb_ms, BLOCK: policy.block_ms}[action]


def action_in_force(held: int, until_ms: int, time_ms: int, *, was_simulated: bool, simulated: bool) -> int:
    """Return the action in force that a decision has to exceed, of the latest one: `held`, until then.

    A real decision has to exceed real ones only. No action exceeds a real one where it would be simulated.
    """
    if time_ms >= until_ms or (was_simulated and not simulated):
        return ALLOW
    return BLOCK if simulated and not was_simulated else held
