"""Defects, surfaces and adsorbates: cut by known libraries, checked, and counted against stated references."""

from groundstate.simulation.builders.adsorption import Adsorbed, Adsorption, AdsorptionConfig, adsorption
from groundstate.simulation.builders.settings import Settings, repeated
from groundstate.simulation.builders.sites import Site, adsorption_sites
from groundstate.simulation.builders.surfaces import Surface, SurfaceConfig, surfaces
from groundstate.simulation.builders.vacancies import Vacancy, VacancyConfig, VacancySize, vacancies

__all__ = [
    "Adsorbed",
    "Adsorption",
    "AdsorptionConfig",
    "Settings",
    "Site",
    "Surface",
    "SurfaceConfig",
    "Vacancy",
    "VacancyConfig",
    "VacancySize",
    "adsorption",
    "adsorption_sites",
    "repeated",
    "surfaces",
    "vacancies",
]
