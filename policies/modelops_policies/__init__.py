"""Rules for models on Kubernetes, as functions of a resource's inputs. Needs only the standard library."""

from modelops_policies.resources import Level, Resource, Rule
from modelops_policies.rules import RESOURCE_RULES, STACK_RULES
from modelops_policies.values import UNKNOWN, plain

__all__ = ["RESOURCE_RULES", "STACK_RULES", "UNKNOWN", "Level", "Resource", "Rule", "plain"]
