"""ModelImage: from a folder to an image that is known by its content."""
