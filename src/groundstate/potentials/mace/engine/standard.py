"""The kernels that come with the package. Like `plan`, it needs no torch: an installation asks it what to compile."""

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Plan
from groundstate.potentials.mace.engine.plan import engine_plan


def standard_plans() -> tuple[Plan, ...]:
    """Plans built at installation and into wheels: engines of the small, medium and large shape of published models.

    Any other plan is compiled when it is first used.
    """
    return tuple(engine_plan(KernelSpec(3, hidden, 3, 128, "float32")) for hidden in (0, 1, 2))
