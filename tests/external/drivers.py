"""Drivers for tests, as files: an analytic pair potential, and one that misbehaves on demand."""

PAIR = """
import numpy as np


class Refused(Exception):
    code = "E-PAIR"


def start(settings):
    depth = settings["depth"]

    def one(structure, want):
        if structure["numbers"][0] == 99:
            raise Refused("element 99")
        positions, cell = structure["positions"], structure["cell"]
        n = len(positions)
        grids = [range(-2, 3) if periodic else range(1) for periodic in structure["pbc"]]
        energy, forces, virial = 0.0, np.zeros((n, 3)), np.zeros((3, 3))
        for shift in [(a, b, c) for a in grids[0] for b in grids[1] for c in grids[2]]:
            for i in range(n):
                for j in range(n):
                    vector = positions[j] + np.array(shift) @ cell - positions[i]
                    distance = np.linalg.norm(vector)
                    if distance < 1e-9 or distance > 4.0:
                        continue
                    # Half of depth (1 - d/4)^3 per ordered pair.
                    energy += 0.5 * depth * (1 - distance / 4.0) ** 3
                    slope = -0.5 * depth * 3 * (1 - distance / 4.0) ** 2 / 4.0
                    forces[i] += slope * vector / distance
                    forces[j] -= slope * vector / distance
                    virial += slope * np.outer(vector, vector) / distance
        volume = abs(np.linalg.det(cell))
        found = {"energy": energy, "forces": forces}
        if "stress" in want:
            found["stress"] = virial / volume
        return found

    def compute(structures, want):
        answers = []
        for structure in structures:
            try:
                answers.append(one(structure, want))
            except Refused as error:
                answers.append(error)
        return answers

    compute.facts = {"program": "pair 1.0"}
    return compute
"""

UNRULY = """
import os
import time

import numpy as np


def start(settings):
    print("chatter on standard output")
    if settings.get("refuse"):
        raise RuntimeError("no licence")

    def compute(structures, want):
        print("more chatter")
        for structure in structures:
            if structure["numbers"][0] == 1:
                os._exit(3)
            if structure["numbers"][0] == 2:
                time.sleep(60)
        sizes = [len(s["numbers"]) for s in structures]
        rows = [1 if s["numbers"][0] == 3 else n for s, n in zip(structures, sizes)]
        return [{"energy": float(n), "forces": np.zeros((m, 3))} for n, m in zip(sizes, rows)]

    return compute
"""
