"""ModelService: a model version behind an address."""
