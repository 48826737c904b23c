"""The copy of an image with a model's files to another registry, by digest."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.errors import logged
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.model_sources import Source, parse
from modelops.core.outputs import with_dependencies
from modelops.core.validation import Problems
from modelops.kubernetes.access import service_account
from modelops.kubernetes.jobs import egress_only_policy
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.pods import DefaultResources, container, core, mount, resource_requirements, scratch
from modelops.kubernetes.registry_job import registry_job
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount, runtime_volume

NAME = "model-promotion"
DEFAULT_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 900, 86_400
DEFAULT_RESOURCES = DefaultResources(cpu="50m", memory="64Mi", memory_limit="256Mi")
_LOGINS = "/modelops/docker"


def check_image(problems: Problems, args: Mapping[str, Any]) -> None:
    """An image by digest, and a repository; an output is judged once its value is known."""
    uri = args.get("model_uri")
    if isinstance(uri, str) and _fixed(uri) is None:
        problems.add("model_uri", uri, "must be oci://<repository>@sha256:<digest>")
    problems.repository("repository", args.get("repository"))


def _fixed(uri: str) -> Source | None:
    try:
        source = parse(uri)
    except ValueError:
        return None
    return source if source.form == "oci" and source.fixed else None


def copy_image(
    name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """Runs the Job `name`. URI and version of the copy, which wait for it."""

    def judged(field: str) -> pulumi.Output[str]:
        return pulumi.Output.from_input(args[field]).apply(lambda known: _judged(name, field, known, opts.parent))

    namespace, labels = args["namespace"], standard_labels(NAME, NAME, name)
    image, repository = judged("model_uri").apply(parse), judged("repository")
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels)
    account = service_account(name, metadata, opts, args)
    registries = [image.apply(lambda source: _url(source.place)), repository.apply(_url)]
    egress_only_policy(name, NAME, name, args, opts, *registries)
    runtime = runtime_volume(name, namespace, labels, ("replicate",), opts)
    job = registry_job(
        name,
        NAME,
        name,
        namespace,
        _container(args, image),
        [scratch("tmp"), runtime, *_logins(args)],
        opts,
        account=with_dependencies(name, account),
        first=account,
        args=args,
        deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        longest=MAX_TIMEOUT_SECONDS,
    )
    digest = image.apply(lambda source: source.uri.partition("@")[2])
    copied = pulumi.Output.concat("oci://", repository, "@", digest)
    return with_dependencies(copied, job), with_dependencies(image.apply(lambda source: source.version), job)


def _judged(name: str, field: str, known: str, promotion: pulumi.Resource | None) -> str:
    problems = Problems("ModelPromotion", name)
    check_image(problems, {field: known})
    with logged(promotion):
        problems.raise_if_any()
    return known


def _container(args: Mapping[str, Any], image: pulumi.Output[Source]) -> "core.ContainerArgs":
    return container(
        "replicate",
        args.get("image", UPSTREAM_IMAGES["python"]),
        variables={
            **VARIABLES,
            "MODELOPS_SOURCE_IMAGE": image.apply(lambda source: source.uri.removeprefix("oci://")),
            "MODELOPS_TARGET_REPOSITORY": args["repository"],
            "DOCKER_CONFIG": _LOGINS,
        },
        command=runtime_command("replicate"),
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES),
        volume_mounts=[
            mount("tmp", "/tmp"),
            runtime_mount(),
            *(mount(volume.name, _LOGINS, read_only=True) for volume in _logins(args)),  # type: ignore[arg-type]
        ],
    )


def _logins(args: Mapping[str, Any]) -> "list[core.VolumeArgs]":
    """The volume with the logins to the registries, if there are any."""
    if "repository_secret" not in args:
        return []
    source = core.SecretVolumeSourceArgs(secret_name=args["repository_secret"])
    return [core.VolumeArgs(name="logins", secret=source)]


def _url(repository: str) -> str:
    """The address of an image's registry."""
    host = repository.partition("/")[0]
    return f"https://{host}" if "." in host or ":" in host else "https://docker.io"
