"""What a survey says to people."""

from detector.console import Console
from detector.offline.odometer.survey import Fleet, Surveyed
from detector.offline.odometer.words import tell, to_dict


def said(fleet: Fleet) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(tell(Surveyed((fleet,), {"beta": "no baseline"}), (0.65,)))
    return shown.get()


def test_what_was_not_measured_is_said() -> None:
    """Queries, clients and labels that count for nothing; nothing of these where all was measured."""
    whole = said(Fleet("m", 0.5, 256, 0, 0, 0.004, ()))
    assert "model beta is not measured: no baseline" in whole
    assert "could not be measured" not in whole
    assert "renamed" not in whole
    assert "not measured to the end" not in whole
    fleet = Fleet("m", 0.5, 256, 1234, 1500, 0.034, ())
    some = said(fleet)
    assert "1,234 queries could not be measured" in some
    assert "1,500 clients and organisations were not measured to the end" in some
    assert "3% of what clients were told has a label that the baseline does not know" in some
    found = to_dict(Surveyed((fleet,), {}), (0.65,))["models"]["m"]
    assert (found["given_up"], found["unknown_labels"], found["unmeasured_queries"]) == (1500, 0.034, 1234)
