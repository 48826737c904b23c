"""A toolchain and a cluster on one machine: what ``make up`` needs when none is there."""
