"""The policy pack: checks Pulumi's resources against the rules and reports violations. Importing it registers the pack.

To make your own pack, create a folder with a PulumiPolicy.yaml and a `__main__.py` that imports this module.
"""

from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from modelops_policies import RESOURCE_RULES, STACK_RULES, Resource, Rule, plain
from modelops_policies.exemptions import SCHEMA, is_exempt

EXEMPT = PolicyConfigSchema(properties={"exempt": SCHEMA})


def resource_policy(rule: Rule) -> ResourceValidationPolicy:
    """A policy that looks at one resource."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(args.resource_type, args.name, plain(args.props, UnknownValueError))
        if not is_exempt(resource.name, args.get_config().get("exempt", [])):
            for problem in rule.check(resource, [resource]):
                report(problem)

    return ResourceValidationPolicy(validate=validate, **_settings(rule))


def stack_policy(rule: Rule) -> StackValidationPolicy:
    """A policy that looks at the whole stack."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        exempt: Any = args.get_config().get("exempt", [])
        stack = [Resource(r.resource_type, r.name, plain(r.props, UnknownValueError), r.urn) for r in args.resources]
        for resource in stack:
            if not is_exempt(resource.name, exempt):
                for problem in rule.check(resource, stack):
                    report(problem, resource.urn)

    return StackValidationPolicy(validate=validate, **_settings(rule))


def _settings(rule: Rule) -> dict[str, Any]:
    level = EnforcementLevel(rule.level.value)
    return {"name": rule.name, "description": rule.description, "enforcement_level": level, "config_schema": EXEMPT}


PolicyPack(
    name="modelops",
    policies=[*map(resource_policy, RESOURCE_RULES), *map(stack_policy, STACK_RULES)],
)
