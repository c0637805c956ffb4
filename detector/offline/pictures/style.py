"""Style: the colours, marks and axes that both pictures share, and the canvas that they are drawn on."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from detector import private
from detector.errors import OutputError
from detector.names import printable

DOTS_PER_INCH = 100
TOP = 2.0  # evidence beyond twice its threshold is drawn at the edge: what matters is when it crossed
# Okabe and Ito's colours, which people can tell apart with any kind of colour vision.
INK, GREY, PALE = "#333333", "#8c8c8c", "#d9d9d9"
RING = "#D55E00"
CONSTRUCTION_COLOUR, NOVELTY_COLOUR = "#0072B2", "#009E73"
CHANNEL_COLOURS = ("#0072B2", "#CC79A7", "#56B4E9", "#F0E442")
ACTION_MARKS = {"throttle": ("#E69F00", "^"), "perturb": ("#D55E00", "s"), "block": ("#000000", "X")}
ACTION_INK = {"throttle": "#8a5f00", "perturb": "#b34f00", "block": "#000000"}  # dark enough to read on white
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # ids of clients may hold dollar signs
}


def drawable(text: str) -> str:
    """Return an id with letters that the font lacks escaped."""
    return "".join(c if ord(c) < 0x250 or c == "…" else c.encode("unicode_escape").decode() for c in printable(text))


@contextmanager
def canvas(path: Path, width: float, height: float) -> Iterator[Any]:
    """Give a figure of so many inches to draw on, and write it to `path`."""
    # A style of the caller's must not show; its backend is left alone, or a notebook would stop showing pictures.
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    with mpl.rc_context({**defaults, **STYLE}):
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        try:
            # Without the name of the software, the bytes do not change with its version number.
            drawn = io.BytesIO()
            figure.savefig(drawn, format="png", metadata={"Software": None})
            private.write(path, drawn.getvalue())
        except OSError as error:
            raise OutputError(f"cannot write the picture {path}: {error.strerror or error}") from error


def query_axis(axes: Any, last: int) -> None:
    """Make the horizontal axis count queries, logarithmically, up to `last`."""
    axes.set_xscale("log")
    axes.set_xlim(1, max(last, 2) * 1.02)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if last < 2000 else (1.0,), numticks=20))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
