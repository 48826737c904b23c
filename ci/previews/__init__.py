"""What `pulumi preview --json` said, made into one comment on a pull request. Only the standard library is used."""
