"""Settings of what a query costs and what a model is worth, for people who have to weigh a theft."""

from typing import Annotated

from pydantic import Field, StringConstraints

from detector.config.section import Section

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class CostSection(Section):
    """What queries cost their clients, and what the models are worth to their owner; nothing is decided by it."""

    price_per_1000: float | None = Field(None, ge=0, le=1e12, description="what 1,000 queries cost a client")
    currency: Currency = Field("EUR", description="of all amounts: three letters of ISO 4217")
    model_value: float | None = Field(
        None, gt=0, le=1e15, description="what a model is worth; alerts then say what of it has leaked"
    )
