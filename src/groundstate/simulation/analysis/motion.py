"""How atoms move along a trajectory: diffusion and vibrations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import DataError, UndefinedPropertyError
from groundstate.atoms.elements import symbols
from groundstate.simulation import options
from groundstate.simulation.analysis.trajectory import Trajectory

LIGHT_cm_per_fs = 2.99792458e-5
BLOCKS = 5
"""Parts of a trajectory whose results stand for independent ones."""
NORMAL = (0.8, 1.2)
"""Log-log slopes that pass for diffusion."""


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Tracer diffusion of one element. `slope`: of log⟨r²⟩ over log t, 1 for diffusion, 2 for flight, 0 for a solid.

    diffusivity, error   m²/s, standard error over blocks · window_fs: lags of the fit · note: empty where it is usable
    """

    element: str
    diffusivity_m2_per_s: float
    error_m2_per_s: float
    slope: float
    window_fs: tuple[float, float]
    note: str


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Vibrational density of states: wavenumber cm⁻¹ · density per cm⁻¹, integrates to 3N · part of each element."""

    wavenumber: Float[Tensor, " frequency"]
    density: Float[Tensor, " frequency"]
    by_element: Mapping[str, Float[Tensor, " frequency"]]
    note: str


def msd(trajectory: Trajectory) -> dict[str, Float[Tensor, " frame"]]:
    """⟨|r(t + τ) − r(t)|²⟩ in Å² for every lag τ and element, over all atoms and starts t, the drift of all removed.

    By Fourier transform, O(T log T). Source: Calandrini et al., Collection SFN 12, 201 (2011), §4.1.
    Checked: tests/simulation/test_motion_analysis.py (the double sum, free flight, random walk)
    """
    _refuse_changing_cells(trajectory)
    masses = trajectory.masses / trajectory.masses.sum()
    still = trajectory.positions - torch.einsum("fad,a->fd", trajectory.positions, masses)[:, None]
    still = still - still.mean(dim=0)
    return {name: _msd(still[:, rows]) for name, rows in _elements(trajectory)}


def diffusivity(trajectory: Trajectory, *, window: tuple[float, float] = (0.1, 0.5)) -> list[Diffusion]:
    """D = ⟨r²⟩/6τ by a line through lags within `window`, fractions of the trajectory; one per element.

    The error is that of the mean over five blocks of the trajectory, each fitted at its own shorter lags. A log-log
    slope that is not near 1 is said so in `note`: cages and free flight are not diffusion, whatever the line.
    """
    first, last = (int(fraction * trajectory.n_frames) for fraction in window)
    if trajectory.n_frames < 20 * BLOCKS or not 1 <= first < last - 2:
        what = f"{trajectory.n_frames} frames are too few for a diffusivity"
        raise DataError("E-TRAJECTORY-SHORT", what, fix=f"give at least {20 * BLOCKS} frames and an open window")
    interval, length = trajectory.interval_fs, trajectory.n_frames // BLOCKS
    blocks = [msd(trajectory.part(k * length, (k + 1) * length)) for k in range(BLOCKS)]
    found = []
    for name, squares in msd(trajectory).items():
        lags = interval * torch.arange(first, last, dtype=torch.float64)
        rate = _slope(lags, squares[first:last])
        logarithmic = _slope(lags.log(), squares[first:last].clamp_min(1e-300).log())
        low, high = max(1, int(window[0] * length)), max(4, int(window[1] * length))
        short = interval * torch.arange(low, high, dtype=torch.float64)
        rates = torch.tensor([_slope(short, block[name][low:high]) for block in blocks])
        error = float(rates.std()) / math.sqrt(BLOCKS)
        usual = NORMAL[0] <= logarithmic <= NORMAL[1]
        note = "" if usual else f"not diffusive: ⟨r²⟩ grows as time to the power {logarithmic:.2f}; run for longer"
        ends = (float(lags[0]), float(lags[-1]))
        found.append(Diffusion(name, 1e-5 * rate / 6, 1e-5 * error / 6, logarithmic, ends, note))
    return found


def vacf(trajectory: Trajectory) -> dict[str, Float[Tensor, " frame"]]:
    """Σ m ⟨v(t)·v(t + τ)⟩ of each element, amu Å²/fs², for every lag, averaged over starts."""
    velocities = _velocities(trajectory)
    weighted = velocities * trajectory.masses.sqrt()[:, None]
    return {name: correlation(weighted[:, rows].reshape(len(weighted), -1)) for name, rows in _elements(trajectory)}


def vibrational_spectrum(trajectory: Trajectory, *, resolution_per_cm: float = 10.0) -> Spectrum:
    """Cosine transform of the mass-weighted velocity correlation, smoothed to `resolution_per_cm` (Hann window).

    In equilibrium every coordinate holds kT/2, so the integral, scaled to 3N, counts modes. What oscillates faster than
    half a period per frame appears at a wrong place, so frames must be close: 4 fs reach 4100 cm⁻¹.
    Source: Dickey & Paskin, Phys. Rev. 188, 1407 (1969). Checked: tests/simulation/test_motion_analysis.py
    """
    options.within("resolution_per_cm", resolution_per_cm, 1e-3, 1e4, hint="it is in cm⁻¹")
    interval = trajectory.interval_fs
    # A Hann window over lags up to M has its first zero 1/(M Δt) beside the centre.
    lags = math.ceil(1 / (resolution_per_cm * LIGHT_cm_per_fs * interval))
    note = ""
    if lags > trajectory.n_frames // 2:
        lags = trajectory.n_frames // 2
        reached = 1 / (max(lags, 1) * interval * LIGHT_cm_per_fs)
        note = f"the trajectory is too short for {resolution_per_cm:g} cm⁻¹; the resolution is {reached:.3g}"
    if lags < 8:
        what = f"{trajectory.n_frames} frames {interval:g} fs apart hold no spectrum"
        raise DataError("E-TRAJECTORY-SHORT", what, fix="record frames more often and for longer")
    window = 0.5 * (1 + torch.cos(math.pi * torch.arange(lags, dtype=torch.float64) / lags))
    correlations = {name: values[:lags] * window for name, values in vacf(trajectory).items()}
    padded = 2 * 2 ** math.ceil(math.log2(2 * lags))
    wavenumber = torch.arange(padded // 2 + 1, dtype=torch.float64) / (padded * interval * LIGHT_cm_per_fs)
    step = float(wavenumber[1])
    total = sum(float(values[0]) for values in correlations.values())
    parts = {}
    for name, values in correlations.items():
        two_sided = torch.zeros(padded, dtype=torch.float64)
        two_sided[:lags] = values
        two_sided[-lags + 1 :] = values[1:].flip(0)
        density = torch.fft.rfft(two_sided).real * 2 / padded / step
        parts[name] = density * 3 * len(trajectory.numbers) / total
    return Spectrum(wavenumber, torch.stack(list(parts.values())).sum(0), parts, note)


def _elements(trajectory: Trajectory) -> list[tuple[str, Tensor]]:
    present = sorted(set(trajectory.numbers.tolist()))
    return [(symbols([z])[0], (trajectory.numbers == z).nonzero()[:, 0]) for z in present]


def _msd(positions: Float[Tensor, "frame row 3"]) -> Float[Tensor, " frame"]:
    frames = len(positions)
    squares = (positions**2).sum(dim=(1, 2))
    ahead, behind = squares.cumsum(0).flip(0), squares.flip(0).cumsum(0).flip(0)
    starts = torch.arange(frames, 0, -1, dtype=torch.float64)
    products = correlation(positions.reshape(frames, -1))
    return ((ahead + behind) / starts - 2 * products) / positions.shape[1]


def correlation(series: Float[Tensor, "frame column"]) -> Float[Tensor, " frame"]:
    """Σ_columns ⟨x(t) x(t + τ)⟩ over all starts."""
    frames = len(series)
    transformed = torch.fft.rfft(series, n=2 * frames, dim=0)
    power = (transformed.real**2 + transformed.imag**2).sum(dim=1)
    lagged = torch.fft.irfft(power, n=2 * frames)[:frames]
    return lagged / torch.arange(frames, 0, -1, dtype=torch.float64)


def _slope(x: Tensor, y: Tensor) -> float:
    centred = x - x.mean()
    return float((centred * y).sum() / (centred**2).sum())


def _velocities(trajectory: Trajectory) -> Float[Tensor, "frame atom 3"]:
    if trajectory.velocities is None:
        what, why = "the trajectory holds no velocities", "differences of positions damp what is fast"
        raise UndefinedPropertyError("E-TRAJECTORY-VELOCITIES", what, why=why, fix="store a column 'velocities', Å/fs")
    return trajectory.velocities


def _refuse_changing_cells(trajectory: Trajectory) -> None:
    if float((trajectory.cells - trajectory.cells[0]).abs().max()) > 1e-9:
        what, why = "the cell changes along the trajectory", "the atoms move with it, which is not diffusion"
        raise UndefinedPropertyError("E-TRAJECTORY-CELL", what, why=why, fix="continue at constant volume")
