"""The stacks of this repository: their settings, and how those become the components' arguments."""
