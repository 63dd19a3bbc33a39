"""Writing source text: lines, indentation, numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Code:
    """Lines of C++ with braces that close themselves."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Lines at the present depth."""
        self._lines += [("  " * self._depth + line).rstrip() for text in lines for line in text.splitlines() or [""]]

    @contextmanager
    def block(self, head: str = "", tail: str = "") -> Iterator[None]:
        """`head {` … `}tail`"""
        self.add(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}" + tail)

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def number(value: float) -> str:
    """A coefficient as a literal that loses nothing."""
    return f"real({value!r})"


def total(terms: Iterable[str], *, none: str = "real(0)") -> str:
    """a + b + …"""
    return " + ".join(terms) or none
