from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.equivariant import (
    Path,
    coupling_coefficients,
    natural_parity_paths,
    rotation_matrix,
    spherical_harmonics,
    wigner_D,
)

TRIPLES = [(a, b, c) for a, b in product(range(7), repeat=2) for c in range(abs(a - b), min(a + b, 6) + 1)]


@pytest.mark.filterwarnings("ignore")
def test_equals_e3nn_sign_included(o3: ModuleType) -> None:
    for triple in TRIPLES:
        theirs = o3.wigner_3j(*triple, dtype=torch.float64).numpy()
        np.testing.assert_allclose(coupling_coefficients(*triple), theirs, rtol=0, atol=1e-12, err_msg=str(triple))


def test_orthogonality() -> None:
    for a, b, c in TRIPLES:
        coefficients = coupling_coefficients(a, b, c)
        gram = np.einsum("ijk,ijl->kl", coefficients, coefficients)
        np.testing.assert_allclose(gram, np.eye(2 * c + 1) / (2 * c + 1), rtol=0, atol=1e-13)


def test_no_rotation_changes_them(frame: Tensor) -> None:
    """Invariant for an even sum of degrees; for an odd one a pseudo-scalar, the sign being that of the frame."""
    matrices = [wigner_D(l, frame).numpy() for l in range(7)]
    handedness = float(torch.linalg.det(frame))
    for a, b, c in TRIPLES:
        coefficients = coupling_coefficients(a, b, c)
        turned = np.einsum("ijk,li,mj,nk->lmn", coefficients, matrices[a], matrices[b], matrices[c], optimize=True)
        sign = 1.0 if (a + b + c) % 2 == 0 else handedness
        np.testing.assert_allclose(turned, sign * coefficients, rtol=0, atol=1e-11)


def test_sign_convention() -> None:
    for a, b, c in TRIPLES:
        middle = coupling_coefficients(a, b, c)[a, b, c]
        assert middle > 1e-3 if (a + b + c) % 2 == 0 else middle == 0.0
    cross = coupling_coefficients(1, 1, 1) * np.sqrt(6)
    a, b = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, -0.7])
    np.testing.assert_allclose(np.einsum("ijk,i,j->k", cross, a, b), np.cross(a, b), atol=1e-14)


def test_harmonics_of_one_vector_couple_to_a_harmonic() -> None:
    r = torch.nn.functional.normalize(torch.tensor([[0.2, -0.5, 0.9]], dtype=torch.float64), dim=-1)
    y = [block.numpy() for block in spherical_harmonics(6, r)[0].split([2 * l + 1 for l in range(7)])]
    for a, b, c in TRIPLES:
        coupled = np.einsum("ijk,i,j->k", coupling_coefficients(a, b, c), y[a], y[b])
        factor = coupled @ y[c] / (2 * c + 1)
        np.testing.assert_allclose(coupled, factor * y[c], atol=1e-12)
        assert factor > 1e-3 if (a + b + c) % 2 == 0 else abs(factor) < 1e-13


def test_forbidden_triple_is_refused() -> None:
    with pytest.raises(ValueError, match="EQUIVARIANT_TRIANGLE"):
        coupling_coefficients(1, 1, 3)


def test_cached_coefficients_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        coupling_coefficients(1, 1, 2)[0, 0, 0] = 1.0


def test_wigner_matrices_represent_the_group(frame: Tensor) -> None:
    generator = torch.Generator().manual_seed(3)
    other, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    first, second = rotation_matrix(6, frame), rotation_matrix(6, other)
    torch.testing.assert_close(rotation_matrix(6, frame @ other), first @ second, rtol=0, atol=1e-11)
    torch.testing.assert_close(first @ first.T, torch.eye(49, dtype=torch.float64), rtol=0, atol=1e-11)


def test_inversion_is_natural_parity() -> None:
    for l in range(5):
        identity = torch.eye(2 * l + 1, dtype=torch.float64)
        torch.testing.assert_close(wigner_D(l, -torch.eye(3, dtype=torch.float64)), (-1) ** l * identity)


def test_paths_of_the_usual_second_layer() -> None:
    paths = natural_parity_paths(lmax_harmonics=3, lmax_features=1, lmax_out=3)
    assert paths[:3] == (Path(0, 0, 0), Path(1, 1, 0), Path(0, 1, 1))
    assert len(paths) == 10
    assert list(paths) == sorted(paths, key=lambda path: (path.out, path.feature, path.harmonic))
    assert sum(2 * path.out + 1 for path in paths) == 40
    assert sum(np.count_nonzero(coupling_coefficients(*path)) for path in paths) == 86
    assert natural_parity_paths(3, 0, 3) == tuple(Path(0, l, l) for l in range(4))
