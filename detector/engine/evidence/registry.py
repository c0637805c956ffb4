"""The registry: every type of evidence, in the order in which arrays, tables and files have them.

To add a channel, write its file, then add its constant and the name of its index here. Saved baselines and clients use this
order and are refused when it changes: append, never reorder.
"""

from collections.abc import Mapping
from types import MappingProxyType

from detector.engine.evidence import aim, bisect, children, cooccur, dwell, foreign, offset, probe, select, sens, turns
from detector.engine.evidence.channel import Channel, EvidenceType
from detector.engine.evidence.whole import CAMPAIGN, HARM, NOVELTY, REFUSED, REUSED

REGISTRY: tuple[Channel, ...] = (
    offset.CHANNEL,
    bisect.CHANNEL,
    aim.CHANNEL,
    probe.CHANNEL,
    sens.CHANNEL,
    dwell.CHANNEL,
    select.CHANNEL,
    foreign.CHANNEL,
    cooccur.CHANNEL,
    turns.CHANNEL,
    children.CHANNEL,
)
OFFSET, BISECT, AIM, PROBE, SENS, DWELL, SELECT, FOREIGN, COOCCUR, TURNS, CHILDREN = range(len(REGISTRY))

EVIDENCE: Mapping[str, EvidenceType] = MappingProxyType(
    {found.name: found for found in (*REGISTRY, NOVELTY, REFUSED, REUSED, HARM)}
)
"""Every type of evidence by its name: the channels, then novelty, then conduct, then harm."""

TYPES: Mapping[str, EvidenceType] = MappingProxyType({**EVIDENCE, CAMPAIGN.name: CAMPAIGN})
"""The same, and the evidence about several accounts together."""
