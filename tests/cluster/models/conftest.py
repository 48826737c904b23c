"""What the tests of this folder share: the library's wheel in a fresh environment."""

from tests.cluster.examples import example, installed

__all__ = ["example", "installed"]
