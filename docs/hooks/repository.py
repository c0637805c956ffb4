"""Files of the repository that pages link to become part of the site, so that no link leads out of it.

A page links as the repository has it, such as ``../../schemas/alert.v1.json``, which works where the repository is read, too.
Here the file is copied to ``repository/`` in the site, and the link is changed to go there. Markdown becomes a page, and its
own links are followed as well.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")  # stand in the navigation
TARGET = re.compile(r"(?<=\]\()[^)\s#]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that pages link to outside of the folder of pages."""
    waiting = [ROOT / name for name in ALWAYS]
    for file in files.documentation_pages():
        waiting += outside(Path(str(file.abs_src_path)))
    added: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in added:
            continue
        added.add(path)
        files.append(File.generated(config, uri(path), abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += outside(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links to files of the repository into links to their copies in the site."""
    del config, files
    source = Path(str(page.file.abs_src_path))
    here = posixpath.dirname(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        if "://" in found[0]:
            return found[0]
        return posixpath.relpath(uri(target_of(source, found[0])), here or ".")

    return TARGET.sub(moved, markdown)


def outside(source: Path) -> list[Path]:
    """Return the files that a page links to outside of the folder of pages.

    Raises PluginError for a link to a file that is not there.
    """
    targets = [target_of(source, link) for link in TARGET.findall(source.read_text(encoding="utf-8")) if "://" not in link]
    return [path for path in targets if not path.is_relative_to(PAGES)]


def target_of(source: Path, link: str) -> Path:
    """Return the file that a relative link names."""
    path = Path(posixpath.normpath(source.parent / link))
    if not path.is_file() or not path.is_relative_to(ROOT):
        raise PluginError(f"{source.relative_to(ROOT)}: there is no file {link}")
    return path


def uri(path: Path) -> str:
    """Return where a file of the repository stands in the site."""
    if path.is_relative_to(PAGES):
        return path.relative_to(PAGES).as_posix()
    return f"repository/{path.relative_to(ROOT).as_posix()}"
