"""Settings of decisions that people take."""

from pathlib import Path

from pydantic import Field

from detector.config.section import Section


class DecisionsSection(Section):
    """Where manual decisions are kept, where that is not Kafka, and for how long one holds unless its command says so."""

    file: Path | None = Field(
        None, description="JSON Lines that `detector decisions` reads and appends to, for a set-up without Kafka"
    )
    audit_file: Path | None = Field(
        None, description="JSON Lines (ECS) of who decided what; by default beside `file`; on Kafka it is a topic"
    )
    allow_minutes: float = Field(1440.0, gt=0, le=366 * 24 * 60, description="how long a manual allow or alert holds")
