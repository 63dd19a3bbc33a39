"""What a reader has seen of a file so far, and the refusals that need more than one frame."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from groundstate.atoms import DataError, GroundstateError, nearest
from groundstate.data.labels import Outcome, Reading
from groundstate.data.report import proposal

IMPLAUSIBLE_STRESS = 2.0
"""eV/Å³, for the median over the frames of a file; a set compressed to 320 GPa throughout can say so."""
ENOUGH = 100_000
"""Stresses whose median is looked at."""


class Tally:
    """Counts over the frames of one file, taken one by one; `check` refuses what they add up to."""

    def __init__(
        self, reading: Reading, require: Sequence[str], file: Path, state: Mapping[str, Any] | None = None
    ) -> None:
        self._reading, self._require, self._file = reading, require, file
        before = state or {"frames": 0, "notes": {}, "unread": [], "labelled": {}, "energy_keys": [], "heads": {}}
        self._frames: int = before["frames"]
        self.notes = Counter[str](before["notes"])
        self.unread = Counter[tuple[str, str]]({(name, key): count for name, key, count in before["unread"]})
        self._labelled = Counter[str](before["labelled"])
        self._energy_keys = set[str](before["energy_keys"])
        self._heads = Counter[str](before["heads"])
        self._without: dict[str, list[int | None]] = {name: [] for name in require}
        self._tags: set[str] = set()
        self._stresses: list[float] = []

    def state(self) -> dict[str, Any]:
        """Plain data to go on from."""
        return {
            "frames": self._frames,
            "notes": dict(self.notes),
            "unread": [[name, key, count] for (name, key), count in self.unread.items()],
            "labelled": dict(self._labelled),
            "energy_keys": sorted(self._energy_keys),
            "heads": dict(self._heads),
        }

    def left_out(self, error: GroundstateError) -> None:
        """A frame that could not be read, and was accepted as such."""
        self.notes[f"left out: {error.code}: {error.what}"] += 1

    def add(self, outcome: Outcome) -> None:
        """One frame that was read."""
        record = outcome.record
        provenance = record.provenance
        self._frames += 1
        self.notes.update(set(outcome.notes))
        self.unread.update((name, key) for key, name in outcome.unread.items())
        self._labelled.update(record.labels.keys())
        self._tags.update(provenance.tags)
        for name in self._require:
            if name not in record.labels:
                self._without[name].append(provenance.frame)
        if "energy" in record.labels:
            self._energy_keys.add(provenance.keys["energy"])
        if "stress" in record.labels and len(self._stresses) < ENOUGH:
            self._stresses.append(float(record.labels["stress"].abs().max()))
        # One tag of the two, so that a frame counts once: `head` is the more specific.
        self._heads.update([provenance.tags[tag] for tag in ("head", "theory") if tag in provenance.tags][:1])

    def check(self, *, at_end: bool = False) -> None:
        """Refuse labels that are missing, mixed or in another unit; `at_end` also what only the whole file shows."""
        if at_end and self._reading.theory is None and len(self._heads) > 1:
            named = ", ".join(f"{head} ({count})" for head, count in self._heads.items())
            text = f"the file names several levels of theory: {named}; theory={{name: …}} keeps them apart"
            self.notes[text] = self._frames
        if at_end:
            self._keys_were_there()
        self._one_energy()
        self._stress_unit()
        for name, without in self._without.items():
            # Gaps may be accepted; a label that no frame has is a wrong key whatever was accepted.
            accepted = self._reading.mask and (self._labelled[name] or not at_end)
            if without and not accepted:
                raise missing_label(name, without, self._frames, self.unread, self._file)

    def _keys_were_there(self) -> None:
        for name, key in self._reading.keys.items():
            if key is not None and not self._labelled[name]:
                raise DataError(
                    "E-LABEL-KEY",
                    f"no frame has the key '{key}' that was named for the {name}",
                    fix=nearest(key, self._tags) if self._tags else "look at the header of the file",
                    file=str(self._file),
                )

    def _one_energy(self) -> None:
        if len({key.endswith("free_energy") for key in self._energy_keys}) > 1:
            raise DataError(
                "E-LABEL-MIXED",
                f"the energy is {' in some frames and '.join(sorted(self._energy_keys))} in others",
                why="the free energy and its σ→0 limit differ by the electronic entropy",
                fix="choose one with keys={'energy': …} and missing='mask'",
                file=str(self._file),
            )

    def _stress_unit(self) -> None:
        if self._stresses and self._reading.stress_convention is None and median(self._stresses) > IMPLAUSIBLE_STRESS:
            raise DataError(
                "E-STRESS-CONVENTION",
                f"half of the stresses exceed {IMPLAUSIBLE_STRESS:g} eV/Å³ (320 GPa); the median is"
                f" {median(self._stresses):.4g}",
                why="they look like GPa or kbar",
                fix="state stress_convention ('ase' if they are eV/Å³ indeed)",
                file=str(self._file),
            )


def missing_label(
    name: str, without: Sequence[int | None], total: int, unread: Mapping[tuple[str, str], int], file: Path
) -> DataError:
    """The refusal of frames without a label that every frame must have."""
    shown = ", ".join(str(frame) for frame in without[:8]) + (f" and {len(without) - 8} more" if without[8:] else "")
    likely = [key for quantity_name, key in unread if quantity_name == name]
    found = f"'{likely[0]}' looks like it: {proposal(name, likely[0])}; otherwise " if likely else ""
    return DataError(
        "E-LABEL-MISSING",
        f"no {name} in {len(without)} of {total} frames (frames {shown})",
        why="it would be trained on nothing",
        fix=f"{found}add the label, or accept the gaps with missing='mask'",
        file=str(file),
    )


def nothing_in(file: Path, tally: Tally) -> DataError:
    """The refusal of a file without a frame that can be used."""
    first = next(iter(tally.notes), "")
    return DataError(
        "E-FILE-EMPTY",
        "the file has no frames" + (f" that can be used ({first})" if first else ""),
        why="there is nothing to compute or to learn",
        fix="check that the run that wrote it finished",
        file=str(file),
    )
