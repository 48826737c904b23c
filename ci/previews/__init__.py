"""Turns the output of `pulumi preview --json` into one comment on a pull request, with only the standard library."""
