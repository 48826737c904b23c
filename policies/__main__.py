"""Entry point when Pulumi loads this folder as a policy pack."""

import modelops_policies.pack  # noqa: F401  (importing it registers the pack)
