"""How the paths of a message are shared out, so that what an instance keeps fits into registers."""

from groundstate.equivariant.generator.algebra import MessageProgram

ROWS_OF_A_GROUP = 24
"""Output rows kept in registers at a time: 48 registers when a lane has two channels."""


def path_groups(program: MessageProgram) -> tuple[tuple[int, ...], ...]:
    """Paths that one program instance treats: all where they fit, else by feature degree, large degrees cut further."""
    if program.rows <= ROWS_OF_A_GROUP:
        return (tuple(range(len(program.paths))),)
    groups = []
    for paths in _paths_by_feature(program):
        rows = sum(rows_of_path(program, p) for p in paths)
        share = rows / -(-rows // ROWS_OF_A_GROUP)
        taken, begun = 0, 0
        for n, p in enumerate(paths):
            taken += rows_of_path(program, p)
            if taken >= share or n == len(paths) - 1:
                groups.append(paths[begun : n + 1])
                taken, begun = 0, n + 1
    return tuple(group for group in groups if group)


def feature_groups(program: MessageProgram) -> tuple[tuple[int, ...], ...]:
    """The same for the gradient by h, where only the paths of different feature degrees are independent."""
    return path_groups(program) if program.rows <= ROWS_OF_A_GROUP else _paths_by_feature(program)


def _paths_by_feature(program: MessageProgram) -> tuple[tuple[int, ...], ...]:
    of_degree = (
        tuple(p for p, path in enumerate(program.paths) if path.feature == l) for l in range(program.lmax_features + 1)
    )
    return tuple(paths for paths in of_degree if paths)


def rows_of_path(program: MessageProgram, path: int) -> int:
    """2 l_out + 1."""
    return 2 * program.paths[path].out + 1
