"""Settings of what a query costs and what a model is worth, for people who have to weigh a theft."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from detector.config.section import Section

_NO_MONEY = frozenset({"XXX", "XTS"})  # codes of the standard for "no currency" and for tests


def _currency(code: str) -> str:
    if re.fullmatch(r"[A-Z]{3}", code) is None or code in _NO_MONEY:
        raise ValueError("three capital letters of ISO 4217, such as EUR")
    return code


Currency = Annotated[str, AfterValidator(_currency)]


class CostSection(Section):
    """What queries cost their clients, and what the models are worth to their owner; nothing is decided by it."""

    price_per_1000: float | None = Field(None, ge=0, le=1e12, description="what 1,000 queries cost a client")
    currency: Currency = Field("EUR", description="of all amounts: three letters of ISO 4217")
    model_value: float | None = Field(
        None, gt=0, le=1e15, description="what a model is worth; alerts then say what of it has leaked"
    )

    def price_of(self, queries: int) -> float | None:
        """Return what so many queries cost, with six digits; None where queries have no price.

        >>> CostSection(price_per_1000=1.5).price_of(32), CostSection().price_of(32)
        (0.048, None)
        """
        return None if self.price_per_1000 is None else float(f"{queries * self.price_per_1000 / 1000.0:.6g}")
