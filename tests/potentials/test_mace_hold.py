"""What a network has learned about a pair ends where its data end, and the nuclear repulsion goes on alone."""

import pytest
import torch
from torch import Tensor

from groundstate.atoms import System
from groundstate.atoms.elements import element
from groundstate.potentials import Model, evaluate
from groundstate.potentials.mace import Hold, MACEConfig
from groundstate.potentials.mace.config import HeldBy
from groundstate.potentials.mace.radial import CLOSING, FADE_FROM, FADE_TO
from groundstate.potentials.nearest import TRUSTED, Nearest
from small_mace import ELEMENTS, dimer, small

NUMBERS = torch.tensor(ELEMENTS)
SUMS = torch.tensor(
    [element(a).covalent_radius + element(b).covalent_radius for a in ELEMENTS for b in ELEMENTS], dtype=torch.float64
)


def told(share: float) -> Tensor:
    """Nearest distances by atomic number: that share of the sums of covalent radii, for all pairs of the elements."""
    nearest = torch.full((119, 119), torch.inf, dtype=torch.float64)
    nearest[NUMBERS[:, None], NUMBERS] = share * SUMS.view(len(ELEMENTS), -1)
    return nearest


def tell(model: Model, nearest: Tensor) -> None:
    """As training does."""
    for module in model.modules():
        if isinstance(module, Nearest):
            module.know(nearest)


def hold_at(share: float) -> Hold:
    hold = Hold(ELEMENTS, torch.float64)
    hold.know(told(share))
    return hold


def test_what_was_taught_is_felt_as_it_is() -> None:
    hold, pairs = hold_at(0.95), torch.arange(len(SUMS))
    for share in (0.95, 1.2, 3.0):
        assert torch.equal(hold(share * SUMS, pairs), share * SUMS)


def test_it_closes_smoothly_and_never_turns_back() -> None:
    hold = hold_at(1.0)
    r = torch.linspace(0.3, 1.2, 2000, dtype=torch.float64).mul(SUMS[1]).requires_grad_()
    felt = hold(r, torch.ones(2000, dtype=torch.int64))
    (slope,) = torch.autograd.grad(felt.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    begins = float(hold.begins()[1])
    assert begins == pytest.approx(TRUSTED * float(SUMS[1]), rel=1e-6)
    assert (slope >= 0).all()
    assert (slope <= 1 + 1e-9).all()
    assert (slope[r < (1 - CLOSING) * begins] == 0).all()
    assert (slope[r > begins] == 1).all()
    steps = (curvature[1:] - curvature[:-1]).abs()
    assert float(steps.max()) < 0.05 * float(curvature.abs().max())  # no jump


@pytest.mark.parametrize(("share", "begins"), [(0.1, FADE_TO), (5.0, 1.0), (float("inf"), 1.0), (0.0, FADE_TO)])
def test_it_begins_between_the_end_of_the_fade_and_contact(share: float, begins: float) -> None:
    torch.testing.assert_close(hold_at(share).begins().double(), begins * SUMS, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("by", "shares"),
    [
        ("pair", [[1.5, 1.3, 0.9], [1.3, 0.8, 0.9], [0.9, 0.9, 0.95]]),
        ("element", [[1.3, 0.8, 0.9], [0.8, 0.8, 0.8], [0.9, 0.8, 0.9]]),
    ],
)
def test_where_pairs_are_held(by: HeldBy, shares: list[list[float]]) -> None:
    """Oxygen was seen at 0.8 of a bond, silicon at 0.9, hydrogen at 1.3; hydrogen with silicon never."""
    h, o, si = ELEMENTS
    nearest = torch.full((119, 119), torch.inf, dtype=torch.float64)
    known = {(h, h): 1.5, (h, o): 1.3, (o, o): 0.8, (o, si): 0.9, (si, si): 0.95}
    for (a, b), share in known.items():
        nearest[a, b] = nearest[b, a] = share * SUMS.view(3, 3)[ELEMENTS.index(a), ELEMENTS.index(b)]
    hold = Hold(ELEMENTS, torch.float64, by)
    hold.know(nearest)
    expected = TRUSTED * torch.tensor(shares, dtype=torch.float64)
    torch.testing.assert_close(hold.begins(), expected.clamp_max(1.0).view(-1) * SUMS)


def test_the_nearer_of_two_trainings_counts() -> None:
    hold = hold_at(0.9)
    hold.know(told(1.2))
    torch.testing.assert_close(hold.get_buffer("nearest").double(), 0.9 * SUMS, rtol=1e-6, atol=0)
    hold.know(told(0.85))
    torch.testing.assert_close(hold.get_buffer("nearest").double(), 0.85 * SUMS, rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_below_it_the_network_pushes_nothing(seed: int) -> None:
    """A random network, of which nobody knows where it pulls, gives a constant once it holds; before, it does not."""
    model = small(seed=seed, zbl=False)
    a, b = ELEMENTS[:2]
    bond = element(a).covalent_radius + element(b).covalent_radius
    lengths = torch.linspace(FADE_FROM + 0.001, (1 - CLOSING) * TRUSTED - 0.001, 9, dtype=torch.float64) * bond
    pairs = System.batch([dimer(a, b, float(r)) for r in lengths])
    assert evaluate(model, pairs, ("forces",))["forces"].abs().max() > 1e-4
    tell(model, told(1.0))
    said = evaluate(model, pairs, ("energy", "forces"))
    assert said["forces"].abs().max() < 1e-14
    assert float(said["energy"].std()) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_nuclei_push_where_it_holds_and_touch_nothing_that_was_taught(seed: int) -> None:
    """With the same weights: down to the nearest taught distance as if there were no repulsion, then it alone."""
    with_it, without = small(seed=seed), small(seed=seed, zbl=False)
    nearest = 0.85
    for model in (with_it, without):
        tell(model, told(nearest))
    a, b = ELEMENTS[:2]
    bond = element(a).covalent_radius + element(b).covalent_radius
    taught = System.batch([dimer(a, b, share * bond) for share in (nearest, 0.9, 1.0, 1.5)])
    for name, said in evaluate(with_it, taught, ("energy", "forces")).items():
        assert torch.equal(said, evaluate(without, taught, (name,))[name])
    closed = torch.linspace(0.4, (1 - CLOSING) * TRUSTED * nearest - 0.001, 9, dtype=torch.float64) * bond
    pushes = evaluate(with_it, System.batch([dimer(a, b, float(r)) for r in closed]), ("forces",))["forces"][1::2]
    outwards = pushes @ torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    assert (outwards > 0).all()
    assert (outwards.diff() < 0).all()


def test_older_model_files_do_not_hold_and_repel_inside_bonds() -> None:
    record = MACEConfig().as_dict()
    del record["hold_at_nearest"]
    del record["repulsion_from"]
    del record["held_by"]
    config = MACEConfig.from_dict(record)
    assert not config.hold_at_nearest
    assert config.held_by == "pair"
    assert config.repulsion_from == "covalent"
    # Described, and fingerprinted, as on the day it was written.
    assert not {"repulsion_from", "held_by"} & config.as_dict().keys()
    assert not [m for m in small(hold_at_nearest=False).modules() if isinstance(m, Hold)]
