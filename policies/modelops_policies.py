"""The policy pack: hands what Pulumi knows to the rules in guard/, and their findings back.

A pack of your own is a folder with a PulumiPolicy.yaml and a `__main__.py` that imports this module.
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

from guard import RESOURCE_RULES, STACK_RULES, Level, Resource, Rule, plain

EXEMPT = PolicyConfigSchema(
    properties={"exempt": {"type": "array", "items": {"type": "string"}, "default": []}},
)
LEVELS = {Level.ADVISORY: EnforcementLevel.ADVISORY, Level.MANDATORY: EnforcementLevel.MANDATORY}


def resource_policy(rule: Rule) -> ResourceValidationPolicy:
    """A rule about one resource alone."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        found = Resource(args.resource_type, args.name, plain(args.props, UnknownValueError))
        if found.name not in args.get_config().get("exempt", []):
            for problem in rule.check(found, [found]):
                report(problem)

    return ResourceValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=LEVELS[rule.level],
        config_schema=EXEMPT,
    )


def stack_policy(rule: Rule) -> StackValidationPolicy:
    """A rule about a resource among all others of the stack."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        exempt: Any = args.get_config().get("exempt", [])
        stack = [Resource(r.resource_type, r.name, plain(r.props, UnknownValueError), r.urn) for r in args.resources]
        for found in stack:
            if found.name not in exempt:
                for problem in rule.check(found, stack):
                    report(problem, found.urn)

    return StackValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=LEVELS[rule.level],
        config_schema=EXEMPT,
    )


PolicyPack(
    name="modelops",
    policies=[*map(resource_policy, RESOURCE_RULES), *map(stack_policy, STACK_RULES)],
)
