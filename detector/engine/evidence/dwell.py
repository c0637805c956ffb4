"""Dwell: the client stays where two labels meet, and the label flips between neighbours.

Decision-based attacks (HopSkipJump, Boundary, SignOPT) and line searches end up very close to the boundary and ask there
again and again, on both sides (after Quiring et al., EuroS&P 2018, who watch the boundary of trees).
"""

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.kernels import kernel

CHANNEL = Channel(
    name="dwell",
    kind="construction",
    floor=16.0,
    ratio=Counted(attack=0.3, innocent=0.06),
    title="Queries that dwell where answers meet",
    description="Answers flip between near neighbours, place after place.",
    meaning="queries stay where two answers meet and the answer flips between neighbours, as decision-based attacks do",
    lookalike="a camera that stands still before an ambiguous scene does; so one crowd of neighbours counts six times at most",
    innocent=(
        "A camera that stands still before an ambiguous scene. So a crowd of neighbours counts six times at most; a thief "
        "goes on to other places of the boundary and a camera does not. Pictures that fade until the answer turns are left out."
    ),
    blind_to="Logs without probabilities.",
)

CLOSE = 0.18  # largest distance of near neighbours, in median nearest-neighbour distances
UNDECIDED = 0.25  # largest margin of an undecided answer, as a difference of logarithms
MOST_PER_CROWD = 6


@kernel
def dwells(distance, margin, flipped, crowd):
    """Tell whether the query flips its near neighbour's label where the model is undecided; `crowd` is its count so far."""
    return flipped and distance < CLOSE and margin < UNDECIDED and crowd < MOST_PER_CROWD
