"""What the engine has the provider do with one resource: check, diff, read, write, delete."""
