"""The benign profiles, each declared beside its function (`detector.redteam.entries.profile`).

A detector that was calibrated on a profile has seen it. So the *known* profiles, which may serve for calibration, are
judged with each left out in turn; and even that is optimistic, because whoever designed the detector knew them. The others
are *frozen*: devices, explainers and tools that came after the design, on which nothing may be tuned. They are the gate for
a release, and once a threshold has been chosen by looking at one of them it belongs to the known. Since the frozen ones had
been looked at by then, a second wave came *later* and is counted apart; once a threshold has been chosen with one of them in
sight, a next wave is due. The last wave is *held out*: it plays in the worlds that are held out, beside thieves who play there
alone, and nowhere else.

`MODULES` is the one list of their modules. Its order is the order in which profiles are published, so a new module goes to the
end.
"""

from importlib import import_module

MODULES = (
    "benign",
    "habits",
    "records",
    "devices",
    "testers",
    "explainers",
    "forms",
    "table_explainers",
    "pipelines",
    "audits",
    "resubmissions",
    "text",
    "held_out",
)

for _name in MODULES:
    import_module(f"{__name__}.{_name}")
