"""Service accounts and their permissions."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import with_dependencies

core = k8s.core.v1
rbac = k8s.rbac.v1


def service_account(
    name: str, metadata: k8s.meta.v1.ObjectMetaArgs, opts: pulumi.ResourceOptions
) -> core.ServiceAccount:
    """A pod's identity, without a token unless the pod spec asks for one."""
    return core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=opts)


def grant(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    rules: Sequence[rbac.PolicyRuleArgs],
    account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    account_namespace: pulumi.Input[str] | None = None,
) -> rbac.RoleBinding:
    """A Role named `name`, bound to `account`, which is in the namespace of `metadata` unless another one is given."""
    role = rbac.Role(name, metadata=metadata, rules=list(rules), opts=opts)
    namespace = metadata.namespace if account_namespace is None else account_namespace
    return rbac.RoleBinding(
        name,
        metadata=metadata,
        role_ref=rbac.RoleRefArgs(
            api_group="rbac.authorization.k8s.io", kind="Role", name=with_dependencies(name, role)
        ),
        subjects=[rbac.SubjectArgs(kind="ServiceAccount", name=account, namespace=namespace)],
        opts=opts,
    )
