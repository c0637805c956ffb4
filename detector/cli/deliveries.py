"""Shared by the commands that deliver results: the receivers, the log of deliveries, and the progress display for a folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.terminal import errors

if TYPE_CHECKING:
    from detector.config import Config
    from detector.sinks.backfill import Backfilled
    from detector.sinks.receiver import Receiver


def receivers_of(settings: "Config") -> "list[Receiver]":
    """Return the configured receivers, connected to nothing; raises `ConfigError` when one cannot be used."""
    if not settings.deliveries and not settings.elasticsearch.hosts:
        return []
    from detector.sinks.registry import receivers  # with the client libraries, which take long to import

    return receivers(settings)


def start_delivery_log(settings: "Config") -> None:
    """Log what fails in deliveries, with secrets masked."""
    from detector.baseline.secret import known_seed
    from detector.service.telemetry import logs

    logs.configure(settings.service.log_level, seed=known_seed(settings) or 0, secrets=settings.delivery_secrets())
    for name in ("elastic_transport", "elasticsearch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report these errors ourselves


def deliver_results(folder: Path, receivers: "Sequence[Receiver]", settings: "Config") -> "Backfilled":
    """Deliver the results in a folder, with progress on a terminal; raises what `deliver_folder` raises."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from detector.sinks.backfill import deliver_folder

    start_delivery_log(settings)
    columns = (SpinnerColumn(), TextColumn("delivering {task.fields[note]}"))
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("delivering", note="")
        return deliver_folder(folder, receivers, lambda lines: bar.update(task, note=f"{lines:,} lines"))
