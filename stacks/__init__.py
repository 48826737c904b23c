"""This repository's stacks: their settings, and the components' arguments made from them."""
