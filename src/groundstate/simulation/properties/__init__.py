"""Properties of crystals over any potential: equation of state, elastic constants, phonons, thermal expansion, heat
transport; many structures in one call, each with its result or its reason.
"""

from groundstate.simulation.properties.curves import CurveFit
from groundstate.simulation.properties.elastic import ElasticConfig, ElasticTensor, elastic_tensor
from groundstate.simulation.properties.equation_of_state import EOSConfig, EquationOfState, equation_of_state
from groundstate.simulation.properties.outcome import Outcome

__all__ = [
    "CurveFit",
    "EOSConfig",
    "ElasticConfig",
    "ElasticTensor",
    "EquationOfState",
    "Outcome",
    "elastic_tensor",
    "equation_of_state",
]
