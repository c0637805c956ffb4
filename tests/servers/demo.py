"""The demo on real servers: ``python -m tests.servers.demo kafka|siem|gateway --out DIR``.

`kafka` sends the demo's log through the service on a broker started here; `siem` goes on into an Elasticsearch, where
Elastic's own rule finds the alerts. `gateway` has thieves ask a model over HTTP, and nginx refuse them.
"""

import argparse
import sys
from pathlib import Path

from detector.cli.terminal import errors
from detector.errors import DetectorError
from tests.servers import demo_gateway, demo_kafka, demo_siem

SHOWS = {"kafka": demo_kafka.show, "siem": demo_siem.show, "gateway": demo_gateway.show}


def main() -> int:
    """Run one of the demos; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.demo", description=__doc__)
    parser.add_argument("server", choices=tuple(SHOWS))
    parser.add_argument("--out", type=Path, default=Path("detector-demo"), help="where everything goes")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    wanted = parser.parse_args()
    try:
        SHOWS[wanted.server](wanted.out, errors, as_json=wanted.json)
    except DetectorError as error:
        errors.print(f"detector: {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
