"""Shape annotations are executed while the tests run; the package itself does not know."""

from jaxtyping import install_import_hook

install_import_hook("groundstate", "beartype.beartype")
