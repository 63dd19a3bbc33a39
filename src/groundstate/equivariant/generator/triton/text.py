"""Lines of Python, indented, and the few expressions that all kernels share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class Source:
    """Text of a module of kernels."""

    def __init__(self, title: str) -> None:
        self._lines = [f'"""{title}"""', "", "import triton", "import triton.language as tl"]
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Lines at the present depth."""
        self._lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """What is added inside is the body of `head`."""
        self.add(head)
        self._depth += 1
        yield
        self._depth -= 1

    @contextmanager
    def kernel(self, name: str, tensors: Sequence[str], constants: Sequence[str], size: str = "") -> Iterator[None]:
        """A kernel: pointers to `tensors`, a number that changes from call to call, constants of the compilation."""
        self._lines += ["", "", f"@triton.jit(do_not_specialize=['{size}'])" if size else "@triton.jit"]
        arguments = [*tensors, *([size] if size else []), *(f"{constant}: tl.constexpr" for constant in constants)]
        with self.block(f"def {name}({', '.join(arguments)}):"):
            yield

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def linear(terms: Iterable[tuple[str, float]]) -> str:
    """Σ coefficient · name, in brackets; a coefficient of ±1 is not multiplied by."""
    text = " + ".join(_term(name, value) for name, value in terms)
    return f"({text})"


def products(pairs: Iterable[tuple[str, str]]) -> str:
    """Σ left · right."""
    return " + ".join(f"{left} * {right}" for left, right in pairs)


def _term(name: str, value: float) -> str:
    if abs(abs(value) - 1.0) < 1e-15:
        return name if value > 0 else f"(-{name})"
    return f"{value!r} * {name}"
