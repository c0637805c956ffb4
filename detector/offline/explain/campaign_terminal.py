"""The explanation of a campaign for a terminal."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detector.names import printable
from detector.offline.explain.campaign import CampaignExplanation
from detector.offline.explain.words import count

SHOWN_ACCOUNTS = 30


def tell_campaign(found: CampaignExplanation) -> RenderableType:
    """Return the explanation for a terminal (rich), also readable where its output is piped."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("account", "left"),
        ("queries", "right"),
        ("events", "right"),
        ("evidence", "right"),
        ("named", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # two of rich's words
    ordered = sorted(found.accounts, key=lambda account: (account.named is None, -account.evidence, account.client))
    for account in ordered[:SHOWN_ACCOUNTS]:
        where = "" if account.address is None else f" at {printable(account.address)}"
        figures = (f"{account.queries:,}", f"{account.events:,}", f"{account.evidence:.1f}", account.named or "no")
        table.add_row(Text(printable(account.client) + where), *figures)
    parts: list[RenderableType] = [
        Text.assemble((found.campaign, "bold"), " on model ", (printable(found.model), "bold")),
        Text(found.headline, "bold"),
        Text(f"{found.first} to {found.last}; level: {found.level}; review at {found.review_at:g}, stop at {found.stop_at:g}"),
        Text(f"It means that {found.meaning}. What looks alike: {found.lookalike}."),
        Text(),
        Text("Events", "bold underline"),
        *(Padding(Text(f"{number:,} {kind}"), (0, 0, 0, 2)) for kind, number in found.counts.items()),
        Text(),
        Text("Odometer", "bold underline"),
        Padding(Text(_held(found)), (0, 0, 0, 2)),
        Text(),
        Text("Accounts", "bold underline"),
        Padding(table, (0, 0, 0, 2)),
    ]
    if len(ordered) > SHOWN_ACCOUNTS:
        parts.append(Padding(Text(f"and {count(len(ordered) - SHOWN_ACCOUNTS, 'more account')}: see --json"), (0, 0, 0, 2)))
    parts += [
        Text(),
        Text("What to do", "bold underline"),
        Padding(
            Text(
                "Ask whether these accounts are one customer's. If they are, and the queries are meant, lift the campaign with "
                f"`detector decisions lift {found.campaign}`, and let the log name the organisation of each account, which "
                "counts as one account. If they are not, revoke what they have in common: payment, address, sign-up."
            ),
            (0, 0, 0, 2),
        ),
    ]
    return Group(*parts)


def _held(found: CampaignExplanation) -> str:
    held = found.odometer
    if held is None:
        return "not read: the named accounts asked too little, or the baseline has no reference inputs"
    return (
        f"together lead {held.lead:.2f} ({held.low:.2f} to {held.high:.2f}), read after {count(held.queries, 'query')}: a copy "
        f"learned from what the named accounts were told agrees with the model on {held.agreement:.0%} of the reference inputs"
    )
