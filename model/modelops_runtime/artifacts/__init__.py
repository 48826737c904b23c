"""A model folder: its manifest, preprocessing and golden prediction, and the runtimes that load it."""
