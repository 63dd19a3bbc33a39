"""Shape annotations are executed while the tests run; the package itself does not know. And a command line to run."""

import pytest
from jaxtyping import install_import_hook

from command_line import Run

install_import_hook("groundstate", "beartype.beartype")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output, standard error of one command line; words may be paths and numbers."""
    from groundstate.cli import main  # after the hook

    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return command
