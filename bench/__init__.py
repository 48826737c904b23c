"""Measurements: `make bench`. Absolute figures depend on the machine; ratios of one run can be compared."""
