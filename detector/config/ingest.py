"""The formats of the logs: of each topic, and of files."""

from typing import Literal

from pydantic import Field

from detector.config.section import Section


class TopicSection(Section):
    """What is known of one input topic."""

    format: str = Field(min_length=1, description="format of its records, instead of [ingest] format")


class IngestSection(Section):
    """How records are read."""

    format: str = Field("native", min_length=1, description="format of records; `detector config check` names those there are")
    envelope: Literal["none", "kcat"] = Field(
        "none", description="what a line of a file is: a record, or one as `kcat -J` writes it, with topic, key and headers"
    )
    topics: dict[str, TopicSection] = Field({}, description="input topics that have a format of their own")
