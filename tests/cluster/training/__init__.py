"""A package, so that what its tests share is taken away when the last of them has run."""
