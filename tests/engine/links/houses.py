"""Logs in which an organisation deals natural queries over its accounts, for tests of what it holds together."""

import json

from sklearn.datasets import load_digits

from detector.testing import START_MS, Events

HOUSE = "acme"


def house_log(
    queries: int = 240, accounts: int = 4, *, organization: str = HOUSE, trusted: bool = True, forgers: int = 0
) -> list[bytes]:
    """Return a log in which the accounts of an organisation ask different digits in turn, beside others without one.

    So many of the accounts are `forgers`: not vouched for, though they write the name of the organisation.
    """
    data = load_digits()
    events = Events("digits", start_ms=START_MS, step_ms=700)
    lines = []
    for turn in range(queries):
        number = turn % accounts
        vouched = trusted and number >= forgers
        client = {"id": f"house-{number}", "trusted": vouched, "organization": organization, "ip": f"192.0.2.{number + 1}"}
        event = json.loads(events.line(f"house-{number}", data.data[turn], int(data.target[turn])))
        lines.append(json.dumps(event | {"client": client}).encode())
        row = len(data.data) - 1 - turn
        lines.append(events.line(f"other-{turn % 3}", data.data[row], int(data.target[row])))
    return lines
