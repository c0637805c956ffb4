"""What the package is called where it is installed from, its version, and how a part that is missing is installed.

The import package and the command are ``detector``. That name belongs to somebody else's project in the public index, so the
distribution has a name of its own, and every sentence that says what to install is built here.
"""

__all__ = ["DISTRIBUTION", "VERSION", "install"]

DISTRIBUTION = "model-extraction-detector"
"""The name in ``pyproject.toml``, which pip, uv and an index know."""

VERSION = "0.1.0"
"""The version, by Semantic Versioning; the build reads it from this line."""


def install(extra: str) -> str:
    """Return the command that installs what an extra of ``pyproject.toml`` stands for.

    Where the distribution is installed already, also from a folder, pip adds only what the extra needs.

    >>> install("notebooks")
    "pip install 'model-extraction-detector[notebooks]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
