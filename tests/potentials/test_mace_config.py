"""A configuration that makes no MACE is refused by the name of the field."""

import json
from typing import Any

import pytest

from groundstate.atoms import LevelOfTheory, OptionError
from groundstate.potentials.mace import SIZES, MACEConfig, build


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 0),
        ("channels", 8.0),
        ("lmax", -1),
        ("lmax", 7),
        ("hidden_lmax", 4),
        ("correlation", 0),
        ("correlation", 5),
        ("layers", True),
        ("cutoff", 0.0),
        ("cutoff", float("inf")),
        ("cutoff", "5"),
        ("radial_basis", 0),
        ("radial_widths", ()),
        ("radial_widths", (16, 0)),
        ("cutoff_power", 1),
        ("distance_transform", "quadratic"),
        ("envelope", "gaussian"),
        ("envelope_at", "output"),
        ("residual_first", 1),
        ("fade_at_contact", 1),
        ("residual", "yes"),
        ("average_neighbours", -3.0),
        ("scale", float("nan")),
        ("readout_width", 0),
        ("heads", ("forces",)),
        ("heads", ("energies",)),
        ("heads", ("charges", "charges")),
        ("charge", "maybe"),
        ("multiplicity", "accept"),
        ("dtype", "bfloat16"),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    config = MACEConfig()
    object.__setattr__(
        config, field, value
    )  # past the annotations, which under pytest would refuse some of these first
    with pytest.raises(OptionError, match=rf"E-MACE-CONFIG: {field} = "):
        config.__post_init__()


def test_a_head_without_a_quantity_is_refused() -> None:
    with pytest.raises(OptionError, match="magnetic_moments"):
        MACEConfig(heads=("magnetic_moment",))


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_a_dial(size: str) -> None:
    config = MACEConfig.of_size(size)
    assert MACEConfig.of_size(size, channels=48, cutoff=6.0).channels == 48
    assert MACEConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    cost = [MACEConfig.of_size(name).channels for name in SIZES]
    assert cost == sorted(cost)


def test_a_description_from_before_a_field_existed_stays_as_it_was() -> None:
    """Its fingerprint is computed from these words; none may be added to it."""
    old = {"channels": 8, "lmax": 2, "distance_transform": "covalent", "fade_at_contact": True, "residual": True}
    config = MACEConfig.from_dict(old)
    assert (config.radial_knots, config.envelope, config.envelope_at, config.residual_first) == (
        0,
        "cubic",
        "weights",
        False,
    )
    added = {"envelope", "envelope_at", "radial_knots", "radial_smoothness", "residual_first"}
    assert not added & config.as_dict().keys()
    assert set(MACEConfig(envelope="polynomial", radial_knots=64).as_dict()) & added == {"envelope", "radial_knots"}


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(OptionError, match="channels"):
        MACEConfig.from_dict({"chanels": 8})
    with pytest.raises(OptionError, match="hidden_lmax"):
        MACEConfig.of_size("S", hiden_lmax=1)
    with pytest.raises(OptionError, match="E-MACE-SIZE"):
        MACEConfig.of_size("XXL")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"elements": ()}, "E-MACE-ELEMENTS"),
        ({"reference_energies": [{1: -13.6}]}, "E-REFERENCE-MISSING"),
        ({"reference_energies": [{1: -13.6, 8: -432.0, 6: -1.0}]}, "E-REFERENCE-ELEMENT"),
        ({"theories": (LevelOfTheory("PBE"), LevelOfTheory("LDA"))}, "E-MACE-THEORIES"),
        ({"scale": [1.0, 2.0]}, "E-MACE-THEORIES"),
        ({"scale": -1.0}, "E-SCALE"),
    ],
)
def test_a_model_that_does_not_add_up_is_refused(changes: dict[str, Any], code: str) -> None:
    given = {"elements": (1, 8), "reference_energies": [{1: -13.6, 8: -432.0}], **changes}
    with pytest.raises(OptionError, match=code):
        build(MACEConfig(channels=2), **given)
