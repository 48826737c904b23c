"""Kinds that a cluster has only where somebody has installed them."""

import pulumi
import pulumi_kubernetes as k8s


def require(name: str, kinds: str, api_version: str, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Reads what the API server has for each group and version with a CRD, so that a plan fails where there is none.

    The resource's name says what is missing, because Pulumi's error is just that a resource does not exist. Reading
    the CRD itself would put hundreds of kilobytes into the stack's state.
    """
    group, _, version = api_version.partition("/")
    service = k8s.apiregistration.v1.APIService
    return service.get(f"{name}-needs-the-crd-{kinds}.{group}", f"{version}.{group}", opts=opts)
