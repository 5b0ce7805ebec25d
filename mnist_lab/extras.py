"""What only chapters, backbones and other data sets need, and a sentence for who lacks it.

    with needs_extra("chapters"):
        import matplotlib

The library itself stays light. What is imported like this is in `pyproject.toml` under the extra
that is named; a test holds that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str, raises: type[Exception] = ImportError) -> Iterator[None]:
    """Say how to install the extra where an import inside the `with` block finds no package.

    Parameters
    ----------
    extra : str
        A key of `[project.optional-dependencies]` in pyproject.toml.
    raises : exception class
        What is raised in place of ModuleNotFoundError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise raises(
            f'{error.name} is not installed: pip install "mnist-lab[{extra}]" brings it.'
        ) from error
