"""One property suite for every cell, all methods; the brute force is the oracle."""

import itertools

import pytest
import torch

from groundstate.atoms import Geometry, OptionError, System, VerletList, find_neighbours
from toys import fcc

F64 = torch.float64


def random_system(seed: int, cell: list[list[float]], pbc: tuple[bool, bool, bool], n_atoms: int = 7) -> System:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.tensor(cell, dtype=F64)
    spread = torch.where(torch.tensor(pbc)[:, None], matrix, 6.0 * torch.eye(3, dtype=F64))
    positions = torch.rand(n_atoms, 3, generator=generator, dtype=F64) @ spread
    return System.single(positions, [6] * n_atoms, cell=matrix, pbc=pbc)


CELLS = {
    "cubic": [[6.0, 0, 0], [0, 6, 0], [0, 0, 6]],
    "thin": [[1.1, 0, 0], [0, 7, 0], [0, 0, 6]],
    "skewed": [[5.0, 0, 0], [9.5, 4, 0], [-8, 7.3, 5]],
    "left-handed": [[0, 5.5, 0], [5, 0, 0], [0.3, 0.2, 6]],
    "smaller than the cutoff": [[2.0, 0.1, 0], [0, 2.2, 0], [0.3, 0, 1.9]],
}
PERIODS = list(itertools.product([True, False], repeat=3))


def as_set(system: System, cutoff: float, method: str) -> set[tuple[int, ...]]:
    graph = find_neighbours(system, cutoff, method=method)
    rows = torch.cat([graph.receivers[:, None], graph.senders[:, None], graph.shifts], dim=1)
    found = {tuple(row) for row in rows.tolist()}
    assert len(found) == graph.n_edges, "an edge is listed twice"
    return found


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("pbc", PERIODS)
def test_cell_list_equals_brute_force(name: str, pbc: tuple[bool, bool, bool]) -> None:
    system = random_system(3, CELLS[name], pbc)
    listed = as_set(system, 4.0, "cell_list")
    assert listed == as_set(system, 4.0, "brute_force")
    assert len(listed) > 0


@pytest.mark.parametrize("cutoff", [1.5, 4.0, 9.0])
def test_all_pairs_of_a_batch_are_the_same_graph(cutoff: float) -> None:
    """Edge by edge and in order, with atoms far outside their cells too."""
    everywhere = (True, True, True)
    systems = [random_system(seed, CELLS[name], everywhere, 3 + seed) for seed, name in enumerate(CELLS)]
    jumps = torch.tensor([[2.0, -3, 1]], dtype=F64) @ systems[2].cell[0]
    systems[2] = systems[2].replace(positions=systems[2].positions + jumps)
    batch = System.batch(systems)
    tried, listed = (find_neighbours(batch, cutoff, method=method) for method in ("all_pairs", "cell_list"))
    assert listed.n_edges > 0
    for name in ("receivers", "senders", "shifts", "receiver_ptr", "reverse"):
        assert torch.equal(getattr(tried, name), getattr(listed, name)), name


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (False, False, False)])
def test_open_vectors_do_not_matter(pbc: tuple[bool, bool, bool]) -> None:
    """A zero, an oblique and a dummy 1 Å open vector give the same neighbours."""
    cell = [[5.0, 0, 0], [0, 5.2, 0.3], [0, 0, 0]]
    reference = random_system(5, cell, pbc)
    expected = as_set(reference, 4.0, "brute_force")
    for open_vector in ([0.0, 0, 0], [3.0, 3, 1], [0, 0, 1], [0, 0, 300]):
        changed = reference.cell.clone()
        for axis in range(3):
            if not pbc[axis]:
                changed[0, axis] = torch.tensor(open_vector, dtype=F64) if axis == 2 else torch.zeros(3, dtype=F64)
        assert as_set(reference.replace(cell=changed), 4.0, "cell_list") == expected


def test_vectors_belong_to_shifts_and_reverse_is_an_involution() -> None:
    system = random_system(1, CELLS["skewed"], (True, True, True))
    graph = find_neighbours(system, 5.0)
    edges = Geometry(system, graph).edges(5.0)
    assert torch.equal(graph.reverse[graph.reverse], torch.arange(graph.n_edges))
    assert torch.equal(graph.senders[graph.reverse], graph.receivers)
    assert torch.allclose(edges.vectors[edges.reverse], -edges.vectors, atol=1e-12)
    assert float(edges.distances.max()) < 5.0
    counted = torch.bincount(graph.receivers, minlength=system.n_atoms)
    assert torch.equal(graph.receiver_ptr[1:] - graph.receiver_ptr[:-1], counted)


def test_atoms_many_cells_outside_see_the_same_distances() -> None:
    system = random_system(2, CELLS["skewed"], (True, True, True))
    jumps = torch.tensor([[10.0, -7, 3]] * 3 + [[0.0, 0, 0]] * 4, dtype=F64) @ system.cell[0]
    moved = system.replace(positions=system.positions + jumps)
    inside, outside = (Geometry.of(s, 4.0).edges(4.0).distances.sort().values for s in (system, moved))
    assert torch.allclose(inside, outside, atol=1e-10)


def test_a_molecule_far_away_is_the_same_molecule() -> None:
    system = random_system(4, CELLS["cubic"], (False, False, False))
    moved = system.replace(positions=system.positions + 1e6)
    assert as_set(system, 4.0, "cell_list") == as_set(moved, 4.0, "cell_list")


def test_a_molecule_in_a_huge_periodic_box() -> None:
    system = random_system(4, CELLS["cubic"], (False, False, False))
    boxed = system.replace(cell=2000.0 * torch.eye(3, dtype=F64)[None], pbc=torch.ones(1, 3, dtype=torch.bool))
    assert find_neighbours(boxed, 4.0).n_edges == find_neighbours(system, 4.0).n_edges


def test_lonely_atoms_have_no_neighbours() -> None:
    one = System.single([[0.0, 0, 0]], [1])
    far = System.single([[0.0, 0, 0], [0, 0, 50]], [1, 1])
    assert find_neighbours(one, 5.0).n_edges == 0
    assert find_neighbours(System.batch([one, far]), 5.0).n_edges == 0


def test_one_atom_sees_its_images() -> None:
    """12 nearest neighbours of an fcc atom from its primitive cell."""
    a = 3.6
    primitive = System.single(
        [[0.0, 0, 0]], [29], cell=[[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]], pbc=True
    )
    assert find_neighbours(primitive, 0.8 * a).n_edges == 12
    assert find_neighbours(fcc(lattice_constant=a), 0.8 * a).n_edges == 48


def test_a_batch_never_mixes_structures() -> None:
    a, b = random_system(1, CELLS["cubic"], (True, True, True)), random_system(2, CELLS["thin"], (True, False, True))
    both = find_neighbours(System.batch([a, b]), 4.0)
    assert both.n_edges == find_neighbours(a, 4.0).n_edges + find_neighbours(b, 4.0).n_edges
    index = System.batch([a, b]).system_index
    assert torch.equal(index[both.receivers], index[both.senders])
    assert torch.equal(both.reverse[both.reverse], torch.arange(both.n_edges))


def test_a_shorter_cutoff_is_a_subset_with_its_own_index() -> None:
    system = random_system(6, CELLS["cubic"], (True, True, True))
    long, direct = Geometry.of(system, 5.5), Geometry.of(system, 3.0)
    for name in ("receivers", "senders", "shifts", "receiver_ptr", "reverse"):
        assert torch.equal(getattr(long.edges(3.0), name), getattr(direct.edges(3.0), name))


def test_a_graph_refuses_more_than_it_holds() -> None:
    with pytest.raises(OptionError, match="E-CUTOFF"):
        Geometry.of(fcc(), 3.0).edges(4.0)


def test_verlet_list_is_complete_while_atoms_and_cell_move() -> None:
    generator = torch.Generator().manual_seed(0)
    system = System.batch([fcc(repeats=2), random_system(1, CELLS["skewed"], (True, False, True))])
    verlet = VerletList(4.0, skin=1.0)
    for step in range(30):
        noise = 0.03 * torch.randn(system.positions.shape, generator=generator, dtype=F64)
        strain = torch.eye(3, dtype=F64) + 0.002 * torch.randn(2, 3, 3, generator=generator, dtype=F64)
        system = system.replace(
            positions=torch.einsum("ai,aij->aj", system.positions, strain[system.system_index]) + noise,
            cell=system.cell @ strain,
        )
        listed = Geometry(system, verlet.graph(system)).edges(4.0)
        fresh = Geometry.of(system, 4.0).edges(4.0)
        for name in ("receivers", "senders", "shifts"):
            assert torch.equal(getattr(listed, name), getattr(fresh, name)), f"step {step}: {name}"
    assert 2 < verlet.builds < 2 * 30, "either the skin did nothing or the list was never rebuilt"


def test_verlet_list_does_not_serve_other_structures() -> None:
    """Another cell, other elements, fewer or more structures: the lists of before are not used."""
    verlet = VerletList(4.0, skin=1.0)
    copper, skewed = fcc(), random_system(1, CELLS["skewed"], (True, True, True))
    for system in (copper, System.batch([copper, skewed]), skewed, fcc(number=47), System.batch([skewed, copper])):
        listed = Geometry(system, verlet.graph(system)).edges(4.0)
        fresh = Geometry.of(system, 4.0).edges(4.0)
        assert torch.equal(listed.senders, fresh.senders)
        torch.testing.assert_close(listed.vectors, fresh.vectors)
