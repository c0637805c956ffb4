"""Settings of the odometer: whether it is read, and the budgets that clients have."""

from typing import Annotated

from pydantic import Field, model_validator

from detector.config.section import Names, Section

Lead = Annotated[float, Field(gt=0, le=1)]


class TierTable(Section):
    """A budget for some clients: those that all of its lists name; a list that is left out names everybody.

    Its limits hold instead of those of `[odometer]`; a limit that is left out is none.
    """

    models: Names | None = Field(None, description="ids of models")
    clients: Names | None = Field(None, description="ids of clients")
    organizations: Names | None = Field(None, description="organisations (client.organization)")
    types: Names | None = Field(None, description="types of clients (client.type), such as trial")
    degrade_at: Lead | None = Field(None, description="lead from which the tier is told labels only; without it never")
    stop_at: Lead | None = Field(None, description="lead from which the tier is blocked; without it never")
    organization_degrade_at: Lead | None = Field(
        None, description="lead from which an organisation of the tier is told labels only, counting all of its accounts"
    )
    organization_stop_at: Lead | None = Field(
        None, description="lead from which an organisation of the tier is blocked, counting all of its accounts"
    )

    @property
    def limits(self) -> tuple[float, ...]:
        """The leads from which something is done about somebody in the tier."""
        return _given(self.degrade_at, self.stop_at, *self.together)

    @property
    def together(self) -> tuple[float, ...]:
        """Those of them that are compared with what several accounts hold together."""
        return _given(self.organization_degrade_at, self.organization_stop_at)

    @model_validator(mode="after")
    def _in_order(self) -> "TierTable":
        _check(self.degrade_at, self.stop_at)
        _check(self.organization_degrade_at, self.organization_stop_at, "organization_")
        whole = self.clients is None and self.types is None
        if not whole and self.together:
            raise ValueError(
                "organization_degrade_at and organization_stop_at are for whole organisations: leave clients and types out"
            )
        if self.models is self.clients is self.organizations is self.types is None:
            raise ValueError("a tier needs models, clients, organizations or types; what holds for all stands in [odometer]")
        return self


class OdometerSection(Section):
    """How much of a model a client may hold, in units of the lead: 0 is the best guess, 1 the model itself."""

    enabled: bool = Field(
        default=True, description="measure how much of a model each client holds, where the baseline has reference inputs"
    )
    degrade_at: Lead | None = Field(None, description="lead from which a client is told labels only; without it never")
    stop_at: Lead | None = Field(
        None, description="lead from which a client is blocked; without it never; meant for tiers without a contract"
    )
    campaign_stop_at: Lead | None = Field(
        None,
        description="lead from which the named accounts of a campaign under review are blocked, counting what they were told "
        "together; without it never",
    )
    organization_degrade_at: Lead | None = Field(
        None,
        description="lead from which an organisation is told labels only, counting what all its accounts were told; without it "
        "never",
    )
    organization_stop_at: Lead | None = Field(
        None,
        description="lead from which an organisation is blocked, counting what all of its accounts were told; without it never",
    )
    throttle_from: float = Field(
        0.0, ge=0, le=1, description="lead from which novelty may throttle a client that is measured; below it, it alerts"
    )
    throttle_halves_every: Lead | None = Field(
        None,
        description="lead at each multiple of which the rate of a throttle is halved, such as 0.1; without it, "
        "[policy] requests_per_minute holds for all",
    )
    throttle_floor: int = Field(
        1, ge=0, description="requests a minute that halving leaves a throttled client in any case, 0 for none"
    )
    tiers: tuple[TierTable, ...] = Field(
        (), description="budgets for some clients, as [[odometer.tiers]]; the first that fits holds"
    )

    @property
    def limits(self) -> tuple[float, ...]:
        """The leads from which something is done about somebody who is in no tier."""
        return _given(self.degrade_at, self.stop_at, *self.together)

    @property
    def together(self) -> tuple[float, ...]:
        """Those of them that are compared with what several accounts hold together."""
        return _given(self.organization_degrade_at, self.organization_stop_at, self.campaign_stop_at)

    @model_validator(mode="after")
    def _possible(self) -> "OdometerSection":
        _check(self.degrade_at, self.stop_at)
        _check(self.organization_degrade_at, self.organization_stop_at, "organization_")
        if not self.enabled and (self.limits or any(tier.limits for tier in self.tiers)):
            raise ValueError("a budget needs enabled = true: nothing is measured otherwise")
        if not self.enabled and self.throttle_halves_every is not None:
            raise ValueError("throttle_halves_every needs enabled = true: nothing is measured otherwise")
        return self


def _given(*limits: float | None) -> tuple[float, ...]:
    return tuple(limit for limit in limits if limit is not None)


def _check(degrade_at: float | None, stop_at: float | None, whose: str = "") -> None:
    if degrade_at is not None and stop_at is not None and stop_at <= degrade_at:
        raise ValueError(f"{whose}stop_at must be above {whose}degrade_at: a client that is blocked is told no labels")
