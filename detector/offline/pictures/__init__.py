"""Pictures of evidence: what a client sent and how the case against it grew.

`client_picture` shows one client, `evidence_picture` many side by side. Both draw what `detector.trace` kept, without any
global state of matplotlib and with its default font, and the same input gives the same bytes.
"""

from detector.offline.pictures.client import client_picture
from detector.offline.pictures.evidence import BENIGN, evidence_picture

__all__ = ["BENIGN", "client_picture", "evidence_picture"]
