"""One tree of errors. Every message reads `CODE: what is wrong, where, why it matters, what to do`."""

import difflib
from collections.abc import Iterable, Sequence


class GroundstateError(Exception):
    """A refusal a person can act on.

    `code` is stable across releases and safe to branch on; the words are for people. `atoms` are indices within the
    structure, `frame` counts structures in the file, from 0.
    """

    exit_code = 1

    def __init__(
        self,
        code: str,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        file: str | None = None,
        frame: int | None = None,
        atoms: Sequence[int] = (),
    ) -> None:
        self.code, self.what, self.why, self.fix = code, what, why, fix
        self.file, self.frame, self.atoms = file, frame, tuple(int(atom) for atom in atoms)
        super().__init__(code, what)

    @property
    def where(self) -> str:
        """`file:frame:atoms`, the parts that are known."""
        parts = []
        if self.file is not None:
            parts.append(self.file)
        if self.frame is not None:
            parts.append(f"frame {self.frame}")
        if self.atoms:
            shown = ", ".join(str(atom) for atom in self.atoms[:8])
            parts.append(f"atoms {shown}" + (f" and {len(self.atoms) - 8} more" if len(self.atoms) > 8 else ""))
        return ": ".join(parts)

    def at(self, *, file: str | None = None, frame: int | None = None) -> "GroundstateError":
        """The same error, told from a door that knows the file or the frame."""
        return type(self)(
            self.code,
            self.what,
            why=self.why,
            fix=self.fix,
            file=self.file if file is None else file,
            frame=self.frame if frame is None else frame,
            atoms=self.atoms,
        )

    def as_dict(self) -> dict[str, object]:
        """Machine-readable twin of the message."""
        return {
            "code": self.code,
            "what": self.what,
            "file": self.file,
            "frame": self.frame,
            "atoms": list(self.atoms),
            "why": self.why,
            "fix": self.fix,
        }

    def __str__(self) -> str:
        sentences = [self.what + (f" [{self.where}]" if self.where else "")]
        sentences += [part[0].upper() + part[1:] for part in (self.why, self.fix) if part]
        closed = (text if text.endswith(("?", "!", "…")) else text.rstrip(".") + "." for text in sentences)
        return f"{self.code}: " + " ".join(closed)


class StructureError(GroundstateError):
    """The structure itself cannot be computed: not finite, overlapping, empty, an impossible cell or spin."""

    exit_code = 3


class DataError(GroundstateError):
    """A file or its labels are unreadable, ambiguous or inconsistent."""

    exit_code = 4


class ModelError(GroundstateError):
    """The model does not exist, does not cover this input, or its file is damaged."""

    exit_code = 5


class OptionError(GroundstateError):
    """An option is unknown, out of range, or contradicts another."""

    exit_code = 2


class UndefinedPropertyError(GroundstateError):
    """The property has no meaning for this structure or is not provided by this model."""

    exit_code = 6


class RunError(GroundstateError):
    """A run cannot start or go on: output exists, folder locked, extra not installed, calculation diverged."""

    exit_code = 7


def nearest(name: str, known: Iterable[str]) -> str:
    """`Did you mean …?` for a name that is not known; lists what is known when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), [other.lower() for other in names], n=3, cutoff=0.5)
    matches = [other for other in names if other.lower() in close]
    if matches:
        return "Did you mean " + " or ".join(f"'{match}'" for match in matches) + "?"
    return "Known: " + ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
