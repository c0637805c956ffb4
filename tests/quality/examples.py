"""What a world is made of: natural examples, and how clients send them."""

from dataclasses import dataclass

from detector.redteam.conversation import Array, Labels


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Natural examples X (n, dimension) with labels y (n,), and how clients send them (see `detector.redteam.wire`).

    `answers` is what the model tells.
    """

    X: Array
    y: Labels
    value_range: tuple[float, float] = (0.0, 1.0)
    categorical: tuple[int, ...] = ()
    wire: str = "float64"
    answers: str = "full"
