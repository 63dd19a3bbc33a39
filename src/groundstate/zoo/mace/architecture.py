"""Which of our configurations a model of mace-torch is; one that is none is refused by the part that differs."""

import math
import re
from dataclasses import dataclass

import numpy as np

from groundstate.atoms import ModelError
from groundstate.atoms.elements import N_ELEMENTS, element
from groundstate.potentials.mace import MACEConfig
from groundstate.potentials.mace.config import DistanceTransform, DType
from groundstate.potentials.mace.radial import AGNESI, SOFT
from groundstate.potentials.terms.mace_zbl import PREFACTOR, RANGE
from groundstate.zoo.mace.extraction import Extraction

MODELS = ("ScaleShiftMACE", "MACE")
_PARTS = frozenset(
    {
        "Activation",
        "AgnesiTransform",
        "AtomicEnergiesBlock",
        "BesselBasis",
        "Contraction",
        "EquivariantProductBasisBlock",
        "FullyConnectedNet",
        "FullyConnectedTensorProduct",
        "Linear",
        "LinearNodeEmbeddingBlock",
        "LinearReadoutBlock",
        "ModuleList",
        "NonLinearReadoutBlock",
        "ParameterList",
        "PolynomialCutoff",
        "RadialEmbeddingBlock",
        "RealAgnosticResidualInteractionBlock",
        "ScaleShiftBlock",
        "SoftTransform",
        "SphericalHarmonics",
        "SymmetricContraction",
        "TensorProduct",
        "ZBLBasis",
        "_Layer",
        "normalize2mom",
        "reshape_irreps",
        *MODELS,
    }
)
"""Classes of the parts that are translated; a model with any other computes something else."""
_TRANSFORMS: dict[str, DistanceTransform] = {"AgnesiTransform": "agnesi", "SoftTransform": "soft"}
KNOTS: dict[DType, int] = {"float32": 128, "float64": 512}
"""Intervals of quintics that change forces by about 1e-6 of their size, as float32 does, or by 1e-10; a soft transform,
which is steep, is given twice as many. Checked: tests/zoo/test_mace_import.py"""
_ROUNDING = 1e-6
"""Relative; constants of checkpoints made in float32 carry its rounding."""


@dataclass(frozen=True)
class Architecture:
    """A configuration with what stands beside it in `build`.

    elements, order   atomic numbers, rising, and where each stands among the model's own
    heads             names of its levels of theory
    repels            whether nuclei repel each other by `MACEZBL`
    """

    config: MACEConfig
    elements: tuple[int, ...]
    order: tuple[int, ...]
    heads: tuple[str, ...]
    repels: bool


def architecture(found: Extraction, precision: DType | None = None, radial_knots: int | None = None) -> Architecture:
    """Read off the modules; every assumption of `weights.py` is checked here.

    precision      `None`: that of its weights
    radial_knots   `None`: as many as the precision resolves
    """
    _check_parts(found)
    modules, layers = found.modules, _count(found, "interactions")
    lmax = _lmax(found, "spherical_harmonics", "irreps_out", 1)
    channels = _channels(found, "node_embedding.linear", "irreps_out")
    hidden_lmax = _lmax(found, "products.0.linear", "irreps_out", channels)
    correlation = _one(found, [f"products.{t}.symmetric_contractions.contractions.0" for t in range(layers)])
    widths = [tuple(found.attribute(f"interactions.{t}.conv_tp_weights", "hs")) for t in range(layers)]
    for t in range(layers):
        l_in = hidden_lmax if t > 0 else 0
        l_out = hidden_lmax if t < layers - 1 else 0
        _require_irreps(found, f"interactions.{t}.linear_up", "irreps_in", channels, l_in)
        _require_irreps(found, f"interactions.{t}.linear_up", "irreps_out", channels, l_in)
        _require_irreps(found, f"interactions.{t}.linear", "irreps_out", channels, lmax)
        _require_irreps(found, f"interactions.{t}.skip_tp", "irreps_in1", channels, l_in)
        _require_irreps(found, f"interactions.{t}.skip_tp", "irreps_out", channels, l_out)
        _require_irreps(found, f"products.{t}.linear", "irreps_out", channels, l_out)
        _require(modules[f"products.{t}"].get("use_sc", True), f"products.{t}", "no residual")
        _require(widths[t][:-1] == widths[0][:-1], f"interactions.{t}.conv_tp_weights", "another width than the first")
    numbers = found.array("atomic_numbers").tolist()
    order = np.argsort(numbers)
    heads = tuple(modules[""].get("heads") or ("Default",))
    last = f"readouts.{layers - 1}"
    width = _channels(found, f"{last}.linear_1", "irreps_out") // len(heads)
    _check_readouts(found, layers, len(heads))
    transform = _transform(found)
    repels = "pair_repulsion_fn" in modules
    power = int(found.number("radial_embedding.cutoff_fn.p"))
    if repels:
        _check_repulsion(found, power)
    if repels or transform != "linear":
        _check_radii(found, numbers)
    cutoff, count = found.number("r_max"), found.array("radial_embedding.bessel_fn.bessel_weights").size
    expected = np.arange(1, count + 1) * math.pi / cutoff
    _require_close(found, "radial_embedding.bessel_fn.bessel_weights", expected)
    own: DType = "float32" if found.array("node_embedding.linear.weight").dtype == np.float32 else "float64"
    dtype = precision or own
    usual = KNOTS[dtype] * (2 if transform == "soft" else 1)
    config = MACEConfig(
        channels=channels,
        lmax=lmax,
        hidden_lmax=hidden_lmax,
        correlation=correlation,
        layers=layers,
        cutoff=cutoff,
        radial_basis=count,
        radial_widths=widths[0][1:-1],
        cutoff_power=power,
        distance_transform=transform,
        envelope="polynomial",
        envelope_at="basis" if modules["radial_embedding"].get("apply_cutoff", True) else "weights",
        radial_knots=usual if radial_knots is None else radial_knots,
        radial_smoothness=2,
        fade_at_contact=False,
        hold_at_nearest=False,
        repulsion_from="covalent",
        held_by="pair",
        residual_first=True,
        average_neighbours=float(found.attribute("interactions.0", "avg_num_neighbors")),
        readout_width=width,
        dtype=dtype,
    )
    return Architecture(config, tuple(numbers[i] for i in order), tuple(order.tolist()), heads, repels)


def _check_parts(found: Extraction) -> None:
    kind = found.modules[""]["class"]
    if "interactions" not in found.modules or "products" not in found.modules:
        raise ModelError(
            "E-MACE-FOREIGN",
            f"the file holds a {kind}, not a MACE model",
            fix="convert a .model file of mace-torch",
        )
    for path, module in found.modules.items():
        _require(module["class"] in (_PARTS if path else MODELS), path, module["class"])
        settings = module.get("cueq_config") or module.get("oeq_config") or {}
        _require(not settings.get("enabled", False), path, "an accelerated layout; convert it back to e3nn first")
        _require(module.get("class") != "normalize2mom" or module.get("f") == "silu", path, f"a gate {module.get('f')}")
    for name in ("use_agnostic_product", "use_so3", "use_last_readout_only"):
        _require(not found.modules[""].get(name, False), "the model", name)


def _check_readouts(found: Extraction, layers: int, heads: int) -> None:
    _require(_count(found, "readouts") == layers, "readouts", "another number than there are layers")
    for t in range(layers):
        wanted = "LinearReadoutBlock" if t < layers - 1 else "NonLinearReadoutBlock"
        _require(found.modules[f"readouts.{t}"]["class"] == wanted, f"readouts.{t}", f"no {wanted}")
        layer = f"readouts.{t}.linear" if t < layers - 1 else f"readouts.{t}.linear_2"
        _require(_channels(found, layer, "irreps_out") == heads, layer, "another number of outputs than heads")


def _transform(found: Extraction) -> DistanceTransform:
    path = "radial_embedding.distance_transform"
    if path not in found.modules:
        return "linear"
    kind = _TRANSFORMS[found.modules[path]["class"]]
    constants = dict(zip("qpa", AGNESI, strict=True)) if kind == "agnesi" else {"alpha": SOFT}
    for name, value in constants.items():
        _require_close(found, f"{path}.{name}", np.array(value))
    return kind


def _check_repulsion(found: Extraction, power: int) -> None:
    path = "pair_repulsion_fn"
    _require(int(found.number(f"{path}.p")) == power, path, "another power than the cutoff function")
    _require_close(found, f"{path}.a_exp", np.array(RANGE))
    _require_close(found, f"{path}.a_prefactor", np.array(PREFACTOR))


def _check_radii(found: Extraction, numbers: list[int]) -> None:
    ours = np.array([element(number).covalent_radius for number in numbers])
    for name, array in found.arrays.items():
        if name.endswith(".covalent_radii"):
            _require(max(numbers) <= min(N_ELEMENTS, len(array) - 1), name, "no radius for some element")
            agree = np.allclose(array[numbers].astype(np.float64), ours, rtol=_ROUNDING, atol=0)
            _require(agree, name, "other covalent radii")


def _count(found: Extraction, path: str) -> int:
    return sum(re.fullmatch(rf"{path}\.\d+", name) is not None for name in found.modules)


def _one(found: Extraction, paths: list[str]) -> int:
    orders = {int(found.attribute(path, "correlation")) for path in paths}
    _require(len(orders) == 1, "products", "orders that differ from layer to layer")
    return orders.pop()


def _irreps(channels: int, lmax: int) -> str:
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def _require_irreps(found: Extraction, path: str, name: str, channels: int, lmax: int) -> None:
    irreps = found.attribute(path, name)
    _require(irreps == _irreps(channels, lmax), path, f"features {irreps}")


def _lmax(found: Extraction, path: str, name: str, channels: int) -> int:
    irreps = found.attribute(path, name)
    lmax = irreps.count("+")
    _require(irreps == _irreps(channels, lmax), path, f"features {irreps}")
    return int(lmax)


def _channels(found: Extraction, path: str, name: str) -> int:
    irreps = found.attribute(path, name)
    match = re.fullmatch(r"(\d+)x0e", irreps)
    _require(match is not None, path, f"features {irreps}")
    return int(match[1]) if match else 0


def _require_close(found: Extraction, name: str, expected: np.ndarray) -> None:
    array = found.floats(name)
    agree = array.size == expected.size and np.allclose(array.reshape(expected.shape), expected, rtol=_ROUNDING, atol=0)
    _require(agree, name, "values that were trained or set by hand")


def _require(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise ModelError(
            "E-MACE-UNSUPPORTED",
            f"the checkpoint has a part that is not translated: {where or 'the model'} ({what})",
            why="without it the converted model would be another one",
            fix="use the model through its own package, e.g. as an ASE calculator",
        )
