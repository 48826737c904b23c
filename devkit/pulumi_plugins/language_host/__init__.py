"""A Python language host: the process through which the Pulumi engine runs Python programs and Python plugins."""
