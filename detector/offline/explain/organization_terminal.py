"""The explanation of an organisation for a terminal."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detector.names import printable
from detector.offline.explain.organization import OrganizationExplanation
from detector.offline.explain.words import count

SHOWN_ACCOUNTS = 30


def tell_organization(found: OrganizationExplanation) -> RenderableType:
    """Return the explanation for a terminal (rich), also readable where its output is piped."""
    table = Table(box=None, pad_edge=False)
    table.add_column("account", justify="left")
    table.add_column("queries", justify="right")
    table.add_column("first", justify="left")
    for account in found.accounts[:SHOWN_ACCOUNTS]:
        table.add_row(Text(printable(account.client)), f"{account.queries:,}", account.first)
    limits = ((found.degrade_at, "labels only"), (found.stop_at, "blocked"))
    budget = ", ".join(f"{what} from {limit:g}" for limit, what in limits if limit is not None)
    parts: list[RenderableType] = [
        Text.assemble("organisation ", (printable(found.organization), "bold"), " on model ", (printable(found.model), "bold")),
        Text(found.headline, "bold"),
        Text(f"{found.first} to {found.last}; {count(found.queries, 'new query')}; level: {found.level}"),
        Text(f"Budget of organisations: {budget or 'none, so it is shown and stops nobody'}"),
        Text(),
        Text("Accounts", "bold underline"),
        Padding(table, (0, 0, 0, 2)),
    ]
    if (more := len(found.accounts) - SHOWN_ACCOUNTS) > 0:
        parts.append(Padding(Text(f"and {count(more, 'more account')}: see --json"), (0, 0, 0, 2)))
    if found.level != "allow":
        parts += [
            Text(),
            Text("What to do", "bold underline"),
            Padding(
                Text(
                    "A budget is a matter of contract: see what was agreed with this organisation, and whether one account "
                    "asked most of it. Lift the decision with `detector decisions lift ORGANIZATION --type organization`, and "
                    "give it a tier of its own in [[odometer.tiers]] where its contract allows more."
                ),
                (0, 0, 0, 2),
            ),
        ]
    return Group(*parts)
