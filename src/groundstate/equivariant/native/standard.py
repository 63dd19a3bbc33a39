"""The plans whose libraries come with the package: shapes that published and trained models have."""

from groundstate.equivariant.native.plan import Plan


def standard_plans() -> tuple[Plan, ...]:
    """Plans built at installation and into wheels. Any other plan is compiled when it is first used."""
    return ()
