"""Kinds that a cluster only has if somebody installed them."""

import pulumi
import pulumi_kubernetes as k8s


def require(name: str, kinds: str, api_version: str, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Reads the APIService of the CRD's group and version, so that a plan already fails if it is not installed.

    The resource's name says what is missing, because Pulumi's error only says that a resource does not exist. Reading
    the CRD itself would put hundreds of kilobytes into the stack's state.
    """
    group, _, version = api_version.partition("/")
    service = k8s.apiregistration.v1.APIService
    return service.get(f"{name}-needs-the-crd-{kinds}.{group}", f"{version}.{group}", opts=opts)
