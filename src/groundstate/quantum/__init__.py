"""Floor 4: reference quantum mechanics: engines that label structures and check what a potential says."""

__all__: list[str] = []
