"""What a MACE is made of, before it has seen an element."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from groundstate.atoms import OptionError, Quantity, nearest, quantity
from groundstate.atoms.contract import Attitude

DistanceTransform = Literal["covalent", "linear", "agnesi", "soft"]
Envelope = Literal["cubic", "polynomial"]
EnvelopeAt = Literal["weights", "basis"]
HeldBy = Literal["element", "pair"]
"""Whose nearest distance holds a pair of elements: that of the more daring of the two with any other, in sums of
covalent radii, or that of the two with each other."""
RepulsionFrom = Literal["taught", "covalent"]
DType = Literal["float32", "float64"]


@dataclass(frozen=True)
class MACEConfig:
    """Shape of a MACE. Source: Batatia et al., NeurIPS 2022 (arXiv:2206.07697); Kovács et al., J. Chem. Phys. 159,
    044118 (2023). Checked: tests/potentials/test_mace_config.py

    channels            width of every feature
    lmax                highest degree of the harmonics and of the density features A
    hidden_lmax         highest degree L that atoms pass on to the next layer; 0 makes messages invariant
    correlation         ν: neighbours that meet in one product feature; body order ν + 1
    layers              message-passing steps; an atom feels others out to layers · cutoff
    cutoff              Å
    radial_basis        Bessel functions of the transformed distance
    radial_widths       hidden layers of the radial network; the last is the rank of the radial functions
    cutoff_power        p of the envelope: larger keeps distant neighbours longer
    distance_transform  "covalent": by the sum of covalent radii, see `radial.DistanceTransform`; "linear": r/r_c;
                        "agnesi", "soft": r/r_c, bent for the basis alone, see `radial.RadialFunctions`
    envelope            "cubic": (1 − x^p)³; "polynomial": see `polynomial_switch`
    envelope_at         "weights": it multiplies the weights the radial network gives; "basis": what the network reads
    radial_knots        intervals of the table that radial functions are kept in, see `tables`; 0: no table, the network
                        is evaluated for every pair, in plain torch only
    radial_smoothness   continuous derivatives of a tabulated function: 1 or 2
    fade_at_contact     neighbours fade out well inside a bond, where the screened nuclear repulsion takes over
    hold_at_nearest     nearer than the training data ever had a pair of elements, it is felt as if it were not, and
                        repulsion alone pushes, see `radial.Hold`
    held_by             "element": a pair is held where the more daring of its elements is with any other, in sums of
                        covalent radii; "pair": where it is itself, and as by element where it never met
    repulsion_from      where that repulsion of nuclei begins. "taught": just below the nearest distance of the pair of
                        elements in the training data, but between ¾ and 1 sum of their covalent radii; "covalent": at
                        the sum, also where bonds of the data are shorter, see `ZBL`
    residual            features are carried on through a matrix of the element, except into the first layer
    residual_first      into the first layer too: an atom without neighbours then has features of its element
    average_neighbours  of the training data: sums over neighbours are divided by it
    scale               eV: energies leave the network in this unit; the root mean square force of the data (× 1 Å)
    readout_width       hidden width of the last readout
    heads               further scalars per atom, by their name in the table of quantities, e.g. ("magnetic_moments",);
                        and "dipole", of molecules
    experts             matrices that each linear map of channels holds, mixed by composition, charge, spin and level of
                        theory, see `experts`; 0: one matrix for all
    charge, multiplicity   whether the condition is needed, accepted or ignored; ignored ones have no parameters
    dtype               numbers the network computes with; geometry and sums of energies are float64 anyway
    """

    channels: int = 32
    lmax: int = 3
    hidden_lmax: int = 1
    correlation: int = 2
    layers: int = 2
    cutoff: float = 5.0
    radial_basis: int = 8
    radial_widths: tuple[int, ...] = (32, 16)
    cutoff_power: int = 6
    distance_transform: DistanceTransform = "covalent"
    envelope: Envelope = "cubic"
    envelope_at: EnvelopeAt = "weights"
    radial_knots: int = 256
    radial_smoothness: int = 1
    fade_at_contact: bool = True
    hold_at_nearest: bool = True
    repulsion_from: RepulsionFrom = "taught"
    held_by: HeldBy = "element"
    residual: bool = True
    residual_first: bool = False
    average_neighbours: float = 16.0
    scale: float = 1.0
    readout_width: int = 16
    heads: tuple[str, ...] = ()
    experts: int = 0
    charge: Attitude = "ignores"
    multiplicity: Attitude = "ignores"
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "radial_widths", tuple(self.radial_widths))
        object.__setattr__(self, "heads", tuple(self.heads))
        for name in ("channels", "correlation", "layers", "radial_basis", "readout_width", "cutoff_power"):
            self._require(name, _is_integer(getattr(self, name)) and getattr(self, name) >= 1, "an integer ≥ 1")
        for name in ("lmax", "hidden_lmax"):
            self._require(name, _is_integer(getattr(self, name)) and 0 <= getattr(self, name) <= 6, "0 … 6")
        self._require("hidden_lmax", self.hidden_lmax <= self.lmax, f"at most lmax ({self.lmax})")
        self._require("correlation", self.correlation <= 4, "at most 4")
        self._require("cutoff_power", self.cutoff_power >= 2, "at least 2")
        knots = self.radial_knots
        self._require("radial_knots", _is_integer(knots) and (knots == 0 or 8 <= knots <= 4096), "0, or 8 … 4096")
        self._require("radial_smoothness", self.radial_smoothness in (1, 2), "1 or 2")
        experts = self.experts
        self._require("experts", _is_integer(experts) and (experts == 0 or 2 <= experts <= 128), "0, or 2 … 128")
        for name in ("cutoff", "average_neighbours", "scale"):
            value = getattr(self, name)
            self._require(name, not isinstance(value, str | bool) and 0 < value < float("inf"), "a positive number")
            object.__setattr__(self, name, float(value))
        widths = self.radial_widths
        self._require("radial_widths", bool(widths) and all(_is_integer(w) and w >= 1 for w in widths), "integers ≥ 1")
        for name in ("fade_at_contact", "hold_at_nearest", "residual", "residual_first"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require("residual_first", self.residual or not self.residual_first, "false where residual is")
        for name, kind in (
            ("distance_transform", DistanceTransform),
            ("envelope", Envelope),
            ("envelope_at", EnvelopeAt),
            ("repulsion_from", RepulsionFrom),
            ("held_by", HeldBy),
            ("charge", Attitude),
            ("multiplicity", Attitude),
            ("dtype", DType),
        ):
            self._require(name, getattr(self, name) in get_args(kind), "one of " + ", ".join(get_args(kind)))
        self._require("heads", len(set(self.heads)) == len(self.heads), "names without repetition")
        for name in self.heads:
            row = quantity(name)
            self._require("heads", name == "dipole" or _is_scalar_of_atoms(row), "scalars per atom, or the dipole")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise OptionError(
                "E-MACE-CONFIG",
                f"{name} = {getattr(self, name)!r} makes no MACE",
                fix=f"{name} must be {expected}",
            )

    @classmethod
    def of_size(cls, size: str, **overrides: Any) -> "MACEConfig":
        """One dial for all that trades accuracy for time; anything it sets can be set otherwise."""
        if size not in SIZES:
            raise OptionError("E-MACE-SIZE", f"there is no size '{size}'", fix=nearest(size, SIZES))
        _refuse_unknown(overrides)
        return cls(**{**SIZES[size], **overrides})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse.

        Fields younger than the first model files are left out where they mean what those files mean without them, so
        that a model describes itself, and is fingerprinted, as on the day it was written.
        """
        record = {**asdict(self), "radial_widths": list(self.radial_widths), "heads": list(self.heads)}
        return {name: value for name, value in record.items() if name not in _YOUNGER or value != _YOUNGER[name]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "MACEConfig":
        """Inverse of `as_dict`; unknown fields are refused, those of `_YOUNGER` may be missing."""
        _refuse_unknown(record)
        # JSON has lists where the fields are tuples.
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**{**_YOUNGER, **values})


SIZES: dict[str, dict[str, Any]] = {
    "XS": {"channels": 16, "lmax": 2, "hidden_lmax": 0, "correlation": 2, "radial_widths": (16, 16)},
    "S": {"channels": 32, "lmax": 3, "hidden_lmax": 1, "correlation": 2, "radial_widths": (32, 16)},
    "M": {"channels": 64, "lmax": 3, "hidden_lmax": 1, "correlation": 3, "radial_widths": (64, 32)},
    "L": {"channels": 128, "lmax": 3, "hidden_lmax": 1, "correlation": 3, "radial_widths": (64, 64, 32)},
}
"""What the dial sets, smallest first."""


_YOUNGER: dict[str, Any] = {
    "envelope": "cubic",
    "envelope_at": "weights",
    "radial_knots": 0,
    "radial_smoothness": 1,
    "hold_at_nearest": False,
    "repulsion_from": "covalent",
    "held_by": "pair",
    "residual_first": False,
    "experts": 0,
}
"""What fields mean in model files that do not have them."""


def _is_scalar_of_atoms(row: Quantity) -> bool:
    return row.per == "atom" and row.shape == () and row.name != "energies"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_unknown(record: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(MACEConfig)]
    for name in record:
        if name not in known:
            raise OptionError("E-MACE-CONFIG", f"a MACE has no option '{name}'", fix=nearest(name, known))
