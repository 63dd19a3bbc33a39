"""One PBE point with GPAW at the settings of mgo_pbe.extxyz; runs in its own process and prints JSON.

    python gpaw_point.py mgo_pbe.extxyz FRAME

GPAW is GPL software and stays outside the package: Debian `apt-get install g++ libxc-dev libopenblas-dev libfftw3-dev`,
then `pip install gpaw` and `gpaw install-data` where the PAW setups are not bundled.
"""

import json
import sys

from ase.io import read
from gpaw import GPAW, PW


def main(path: str, frame: int) -> None:
    atoms = read(path, index=frame)
    atoms.calc = GPAW(mode=PW(800), xc="PBE", kpts=(2, 2, 2), txt=None, convergence={"energy": 1e-6, "density": 1e-5})
    result = {
        "energy_eV": atoms.get_potential_energy(),
        "forces_eV_per_A": atoms.get_forces().tolist(),
        "stress_eV_per_A3": atoms.get_stress().tolist(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
