"""Floor 3: other people's programs in a process and an environment of their own; arrays over a pipe, with timeouts."""

__all__: list[str] = []
