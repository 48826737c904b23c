"""Service accounts and their permissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.errors import ArgumentsError
from modelops.core.outputs import with_dependencies
from modelops.core.per_run import per_run

core = k8s.core.v1
rbac = k8s.rbac.v1


def service_account(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    opts: pulumi.ResourceOptions,
    args: Mapping[str, Any] | None = None,
) -> core.ServiceAccount:
    """A pod's identity, without a token unless the pod spec asks for one.

    With the component's `args` it has the role of the cloud that they may give.

    Raises ArgumentsError if another component of the program has the same name in the same namespace. Its objects
    would have the same names as well, which a plan doesn't notice, and an `up` only when it is half done.
    """
    _claim(name, metadata.namespace, opts.parent)
    own: Any = metadata
    role = (args or {}).get("service_account_annotations")
    if role:
        metadata = k8s.meta.v1.ObjectMetaArgs(
            name=own.name, namespace=own.namespace, labels=own.labels, annotations={**role}
        )
    return core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=opts)


def _claim(name: str, namespace: object, component: pulumi.Resource | None) -> None:
    if component is None or not isinstance(namespace, str):
        return
    owner = per_run("owners of accounts").setdefault((namespace, name), component)
    if owner is not component:
        whose, kind = type(owner).__name__, type(component).__name__
        problem = f"another {whose}" if whose == kind else f"the {whose} {name!r}"
        raise ArgumentsError(
            f'{kind} "{name}": {problem} makes objects of the same names in namespace {namespace!r}: '
            "give one of the two another name, or a namespace of its own"
        )


def grant(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    rules: Sequence[rbac.PolicyRuleArgs],
    account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    account_namespace: pulumi.Input[str] | None = None,
) -> rbac.RoleBinding:
    """A Role with that `metadata`, bound to `account`, which is in the same namespace unless another one is given."""
    own: Any = metadata
    role = rbac.Role(name, metadata=metadata, rules=list(rules), opts=opts)
    namespace = metadata.namespace if account_namespace is None else account_namespace
    return rbac.RoleBinding(
        name,
        metadata=metadata,
        role_ref=rbac.RoleRefArgs(
            api_group="rbac.authorization.k8s.io", kind="Role", name=with_dependencies(own.name, role)
        ),
        subjects=[rbac.SubjectArgs(kind="ServiceAccount", name=account, namespace=namespace)],
        opts=opts,
    )
