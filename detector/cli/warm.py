"""The command warm-up: compiles all kernels before the first event."""

from detector.cli.terminal import AsJson, print_json, progress
from detector.console import say


def warm_up(*, as_json: AsJson = False) -> None:
    """Compile all kernels of the engine and of the native format, once for each version and kind of processor.

    It takes a minute or more, in which a new worker would watch nothing. Run it after installing, or while building an image.
    """
    from detector.engine.kernels import cache_folder, compiling
    from detector.engine.warm import warm_up as rehearse_all

    compiled: list[str] = []
    with progress("warming up", engine=True), compiling(compiled.append):
        rehearse_all()
    kept = cache_folder()
    folder = None if kept is None else kept.parent  # beside it lies that of the native format
    if as_json:
        print_json({"compiled": len(compiled), "folder": None if folder is None else str(folder)})
    elif folder is None:
        say("compiled, but not kept: no folder under XDG_CACHE_HOME or ~/.cache is writable, so each start compiles again")
    elif compiled:
        say(f"compiled {len(compiled)} kernels into {folder}")
    else:
        say(f"everything is compiled already, in {folder}")
