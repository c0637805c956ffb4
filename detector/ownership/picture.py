"""The picture of a test: where the key stands among counterfeit ones."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from detector.errors import OutputError
from detector.names import one_line
from detector.ownership.verify import Row

__all__ = ["draw_row"]


def draw_row(row: Row, path: Path) -> None:
    """Draw how well the suspect fits counterfeit keys, and how well the key. Raises `OutputError`."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(row.counterfeits, bins=80, color="#9aa5b1", label=f"{len(row.counterfeits):,} counterfeit keys")
    axes.axvline(row.value, color="#c2410c", linewidth=2, label=f"the key of {one_line(row.subject)[:60]}")
    axes.set_xlabel("how well the suspect's labels fit a key")
    axes.set_ylabel("keys")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=120, metadata={"Software": None})
    except OSError as error:
        raise OutputError(f"{path}: cannot write the picture: {error.strerror or error}") from error
