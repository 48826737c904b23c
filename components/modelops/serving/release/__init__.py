"""How a new version is released beside the old one: canary, blue/green, shadow."""
