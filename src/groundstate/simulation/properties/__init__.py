"""Properties of crystals over any potential: equation of state, elastic constants, phonons, thermal expansion, heat
transport; many structures in one call, each with its result or its reason.
"""

from groundstate.simulation.properties.curves import CurveFit
from groundstate.simulation.properties.dielectric import DielectricResponse
from groundstate.simulation.properties.elastic import ElasticConfig, ElasticTensor, elastic_tensor
from groundstate.simulation.properties.equation_of_state import EOSConfig, EquationOfState, equation_of_state
from groundstate.simulation.properties.lattice import PER_CM, Lattice, frequencies, read_born
from groundstate.simulation.properties.modes import Followed, ImaginaryMode, follow_mode
from groundstate.simulation.properties.outcome import Outcome
from groundstate.simulation.properties.phonons import PhononConfig, Phonons, phonons
from groundstate.simulation.properties.quasi_harmonic import QHAConfig, ThermalExpansion, quasi_harmonic
from groundstate.simulation.properties.thermal_conductivity import (
    ConductivityConfig,
    ThermalConductivity,
    thermal_conductivity,
)

__all__ = [
    "PER_CM",
    "ConductivityConfig",
    "CurveFit",
    "DielectricResponse",
    "EOSConfig",
    "ElasticConfig",
    "ElasticTensor",
    "EquationOfState",
    "Followed",
    "ImaginaryMode",
    "Lattice",
    "Outcome",
    "PhononConfig",
    "Phonons",
    "QHAConfig",
    "ThermalConductivity",
    "ThermalExpansion",
    "elastic_tensor",
    "equation_of_state",
    "follow_mode",
    "frequencies",
    "phonons",
    "quasi_harmonic",
    "read_born",
    "thermal_conductivity",
]
