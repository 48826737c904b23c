"""Rules for models on Kubernetes, as functions of a resource's inputs. Needs only the standard library."""

from guard._resources import UNKNOWN, Level, Resource, Rule, plain
from guard._rules import RESOURCE_RULES, STACK_RULES

__all__ = ["RESOURCE_RULES", "STACK_RULES", "UNKNOWN", "Level", "Resource", "Rule", "plain"]
