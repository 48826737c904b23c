"""ModelImage: an image built from a folder."""
