"""The gate of every component that has one: which of its bounds are relative, and what its container gets."""

from collections.abc import Mapping
from typing import Any

import pulumi

from modelops.core.outputs import is_output
from modelops.core.run_id import canonical_json
from modelops.core.validation import Problems

DEFAULT_SERVING_ALIAS = "serving"
"""What the containers take where no alias is given: without relative bounds they compare with nothing."""
_RELATIVE = ("min_delta", "max_delta")


def relative_bounds(gate: object) -> list[str]:
    """`f1.min_delta`: the bounds that compare with another version, as far as they are known in the plan."""
    metrics = gate if isinstance(gate, Mapping) else {}
    return [
        f"{metric}.{bound}"
        for metric, bounds in metrics.items()
        if isinstance(bounds, Mapping)
        for bound in _RELATIVE
        if bound in bounds
    ]


def may_compare(gate: object) -> bool:
    """Whether the gate has relative bounds, or an output that may bring some."""
    metrics = gate if isinstance(gate, Mapping) else {}
    return is_output(gate) or any(map(is_output, metrics.values())) or bool(relative_bounds(gate))


def check_comparison(problems: Problems, args: Mapping[str, Any], prefix: str = "") -> None:
    """Checks that what the relative bounds of `gate` compare with is named. `prefix` is that of the fields."""
    alias = args.get("serving_alias")
    problems.mlflow_name(f"{prefix}serving_alias", alias)
    if (bounds := relative_bounds(args.get("gate"))) and alias is None:
        problems.missing(
            f"{prefix}serving_alias",
            f"it is required with {', '.join(f'{prefix}gate.{bound}' for bound in bounds)}, to compare with the "
            "version under that alias: give ModelService the same serving_alias, which it moves after each rollout",
        )


def gate_variables(args: Mapping[str, Any]) -> dict[str, pulumi.Input[str]]:
    """Variables of a container that judges the gate."""
    variables: dict[str, pulumi.Input[str]] = {
        "MODELOPS_GATE": pulumi.Output.from_input(args.get("gate") or {}).apply(canonical_json),
        "MODELOPS_SERVING_ALIAS": args.get("serving_alias", DEFAULT_SERVING_ALIAS),
    }
    if "first_version" in args:
        variables["MODELOPS_FIRST_VERSION"] = pulumi.Output.from_input(args["first_version"]).apply(canonical_json)
    return variables


def announce_gate(args: Mapping[str, Any], component: pulumi.Resource) -> None:
    """Says in a plan what the gate judges; of a changed gate, `pulumi preview` alone shows a Job that is replaced."""

    def say(known: Mapping[str, Any]) -> None:
        gate = known["gate"] or {}
        bounds = ", ".join(
            f"{metric} {bound} {value}" for metric, each in gate.items() for bound, value in each.items()
        )
        against = f" (deltas against @{known['alias']})" if relative_bounds(gate) else ""
        if bounds:
            pulumi.log.info(
                f"judges a new run, and the published one if the gate changed: {bounds}{against}", component
            )

    if pulumi.runtime.is_dry_run():
        pulumi.Output.all(gate=args.get("gate"), alias=args.get("serving_alias", "")).apply(say)
