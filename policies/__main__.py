"""What Pulumi runs when it is given this folder as a policy pack."""

import modelops_policies  # noqa: F401  (to import it is to register the pack)
