"""Together: what the accounts of a campaign, and those of an organisation, hold of one model together."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.links.groups import Groups
from detector.engine.links.holdings import Holdings
from detector.engine.links.latest import Latest
from detector.engine.links.organizations import Organizations
from detector.engine.links.seeking.search import Links
from detector.engine.links.sketch import Sketches
from detector.errors import SnapshotError
from detector.ingest.batch import Sender


class Together:
    """The latest queries of a model, with the samples of campaigns and organisations that are taken out of them."""

    def __init__(self, latest: Latest, number_of: Callable[[str], int], is_vouched: Callable[[Sender], bool]) -> None:
        self.holdings = Holdings(latest)
        self.organizations = Organizations(latest, number_of, is_vouched)
        self._latest = latest

    @property
    def nbytes(self) -> int:
        """The memory of the ring and the samples, in bytes."""
        return self._latest.nbytes + self.holdings.nbytes + self.organizations.nbytes

    def take(self, sketches: Sketches, account: npt.NDArray[np.uint64], links: Links) -> list[int]:
        """Take in queries; return the number of each one's organisation."""
        organization = self.organizations.numbers(sketches)
        self._latest.take(sketches, account, organization, links)
        return [int(number) for number in organization.tolist()]

    def advance(self, uid: int, groups: Groups) -> None:
        """Note that the query `uid` is at hand: all samples are taken out of the ring before it forgets any of them."""
        if uid % self._latest.half == 0:
            self._latest.write(uid)
            self.holdings.gather(groups)
            self.organizations.gather()

    def finish(self) -> None:
        """Write what is left of the queries that were taken in."""
        self._latest.finish()

    def state(self) -> Mapping[str, Any]:
        """Return it as plain data."""
        return {
            "latest": self._latest.state(),
            "campaigns": self.holdings.state(),
            "organizations": self.organizations.state(),
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Restore what `state` returned; without it, or of a ring of another size, it begins anew.

        Raises `SnapshotError` where it is damaged.
        """
        if state is None:
            return
        kinds = {"latest": bytes, "campaigns": list, "organizations": list}
        if not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
            raise SnapshotError("the saved links are damaged: what accounts hold together")
        if self._latest.restore(state["latest"]):
            self.holdings.restore(state["campaigns"])
            self.organizations.restore(state["organizations"])
