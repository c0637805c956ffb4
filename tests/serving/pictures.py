"""A log of pictures: handwritten digits as PNG files of 28x28 pixels, as KServe's logger has them.

The pictures are scikit-learn's digits, enlarged; a query that a client computes is rounded to pixels on its way into the file.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from detector.contracts.moment import rfc3339
from detector.redteam.play import Player, turns
from detector.redteam.victim import Pool, Victim, digits_victim
from tests.serving.players import Pools, past, today

INNOCENTS = ("steady", "bursty", "skewed", "retries", "noisy_sensor")
THIEVES = ("uniform", "line_search", "knockoff_random")
SIDE = 28


def png(vector: npt.NDArray[np.float64]) -> str:
    """Return 8x8 grey levels from 0 to 16 as a PNG file of 28x28 pixels, in base64."""
    levels = np.clip(vector.reshape(8, 8) * (255.0 / 16.0), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def written(history: Path, live: Path) -> None:
    """Write the log of a benign fortnight, and that of a day with thieves, whose clients are called ``thief-...``."""
    served = digits_victim(3)
    teach, calibrate = (
        Pool(served.baseline.vectors[part], served.baseline.labels[part]) for part in (slice(200), slice(200, None))
    )
    pools = Pools(teach, calibrate, served.benign, served.attacker)
    for path, players in (
        (history, past(INNOCENTS, pools, served.setting)),
        (live, today(INNOCENTS, THIEVES, pools, served.setting)),
    ):
        path.write_bytes(b"".join(line + b"\n" for line in _lines(players, served)))


def _lines(players: Sequence[Player], served: Victim) -> Iterator[bytes]:
    """Two events a query, as CloudEvents in JSON: the request and the response."""
    for n, turn in enumerate(turns(players, served.predict)):
        about: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{n:08x}",
            "source": "http://localhost:9081/",
            "inferenceservicename": "digits",
            "metadata": json.dumps({"X-Consumer-Id": [turn.player.name]}),
        }
        request = {"instances": [{"image_bytes": {"b64": png(turn.query.vector)}}]}
        response = {"predictions": [[round(float(p), 6) for p in turn.answer]]}
        for kind, at, body in (("request", turn.time_ms, request), ("response", turn.time_ms + 8, response)):
            event = {**about, "type": f"org.kubeflow.serving.inference.{kind}", "time": rfc3339(at), "data": body}
            yield json.dumps(event).encode()
