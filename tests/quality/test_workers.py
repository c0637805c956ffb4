import io

from rich.console import Console

from tests.quality.workers import progress


def test_progress_is_told_in_lines_where_there_is_no_terminal() -> None:
    """The end of each part is told at once, what lies between at most once a minute."""
    said = io.StringIO()
    with progress(Console(file=said), "learning") as told:
        told("learning", 1, 1)
        for done in range(1, 4):
            told("playing", done, 3)
    assert said.getvalue().splitlines() == ["learning: 1 of 1 after 0 s", "playing: 3 of 3 after 0 s"]
