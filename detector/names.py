"""Names from data and addresses from settings, as they may be shown; and how many there are of something.

Whoever sends queries chooses ids, versions and labels, and so what a terminal or a log would do with them: move the cursor,
clear the screen, turn the direction of writing, begin a line that looks like ours. An address may hold a password or a token.
"""

from urllib.parse import urlsplit

_ENDS = "\n\t"


def escaped(character: str) -> str:
    r"""Return a character, or its escape when it is none that is only shown: a control character, a mark of direction.

    >>> escaped("a"), escaped("\x1b"), escaped("\u202e"), escaped("\n")
    ('a', '\\x1b', '\\u202e', '\\n')
    """
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def printable(text: str, most: int = 48) -> str:
    r"""Return a name as it can be shown: control characters escaped, the middle of a long one left out.

    >>> print(printable("key-7\x1b[2J"), printable("x" * 60, 9))
    key-7\x1b[2J xxxx…xxxx
    """
    shown = one_line(text)
    return shown if len(shown) <= most else f"{shown[: most // 2]}…{shown[len(shown) - (most - 1) // 2 :]}"


def one_line(text: str) -> str:
    r"""Return a text as one line, whatever its length: control characters and ends of lines escaped.

    >>> print(one_line("a\nb\u2028c\x1b"))
    a\nb\u2028c\x1b
    """
    return text if text.isprintable() else "".join(map(escaped, text))


def harmless(text: str) -> str:
    r"""Return a text of several lines in which nothing acts on a terminal: only ends of lines and tabs stay as they are.

    >>> harmless("one\n\ttwo\r\x9b2J")
    'one\n\ttwo\\r\\x9b2J'
    """
    if text.isprintable():
        return text
    return "".join(character if character in _ENDS else escaped(character) for character in text)


def harmless_json(text: str) -> str:
    r"""Return JSON that says the same, with what acts on a terminal escaped as JSON has it.

    >>> harmless_json('{"id": "a\u202eb"}')
    '{"id": "a\\u202eb"}'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character in _ENDS or character.isprintable() else _json_escape(character) for character in text
    )


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return how many of something there are, with commas between thousands; `things` where that is not `thing` with an s.

    >>> counted(1, "hour"), counted(1200, "hour"), counted(0, "query", "queries")
    ('1 hour', '1,200 hours', '0 queries')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, which may be shown; empty where it is none, or holds user or password.

    The rest may be a secret: many services put a token into the path or the query.

    >>> origin_of("https://hooks.example:8443/services/T0/secret?token=x")
    'https://hooks.example:8443'
    >>> origin_of("https://user:password@hooks.example/"), origin_of("hooks.example/x"), origin_of("https://h:port/")
    ('', '', '')
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not parts.netloc.isprintable():
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
