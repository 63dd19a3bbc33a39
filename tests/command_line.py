"""The type of the fixture `run`: exit code, standard output and standard error of one command line."""

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
