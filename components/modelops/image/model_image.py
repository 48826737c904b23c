"""ModelImage: an image built from a folder, pushed, and known by its content."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict, cast

import pulumi

from modelops.core.naming import objects_name
from modelops.core.validation import Problems, read_args

if TYPE_CHECKING:
    import pulumi_docker_build as docker_build

CACHE_TAG = "buildcache"
DEFAULT_TAG = "latest"
DEFAULT_COMPRESSION_LEVEL = 3


class ImageBuilder(Enum):
    """The program that builds the image."""

    DOCKER_BUILD = "docker-build"
    """BuildKit through the `docker-build` provider: any builder of `docker buildx`, no Docker Engine needed."""
    DOCKER = "docker"
    """The Docker Engine of this machine, through the `docker` provider."""


class Compression(Enum):
    """How image layers are packed."""

    ZSTD = "zstd"
    """Small and fast; needs containerd 1.5 or Docker 23 where the image runs."""
    GZIP = "gzip"
    """Understood everywhere."""


if TYPE_CHECKING:
    AnyImageBuilder = ImageBuilder | Literal["docker-build", "docker"]
    AnyCompression = Compression | Literal["zstd", "gzip"]
else:  # Pulumi's schema has the enum alone.
    AnyImageBuilder = ImageBuilder
    AnyCompression = Compression


class RegistryCredentials(TypedDict):
    """How to log in to the image's registry."""

    username: pulumi.Input[str]
    """User name."""
    password: pulumi.Input[str]
    """Password or token. Kept secret in the state, whether it is given as a secret or not."""
    address: NotRequired[pulumi.Input[str]]
    """Host of the registry. Default: the one that `repository` begins with."""


class ModelImageArgs(TypedDict):
    """Arguments of ModelImage."""

    context: str
    """Folder that the build sees, relative to the program's folder. Its `.dockerignore` decides what counts: a changed
    file there makes a new image, a changed time stamp doesn't."""
    repository: str
    """Where the image goes, without tag: `registry.example.com/team/model`."""
    dockerfile: NotRequired[str]
    """Dockerfile, relative to the program's folder. Default: `Dockerfile` in `context`."""
    target: NotRequired[pulumi.Input[str]]
    """Stage of the Dockerfile to build. Default: the last one."""
    build_args: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[str]]]]
    """Values of the Dockerfile's `ARG`s. They stay readable in the image: no secrets here. Default: none."""
    platforms: NotRequired[Sequence[str]]
    """Platforms such as `linux/amd64`; at most one with the `docker` builder. Default: the builder's own."""
    tag: NotRequired[pulumi.Input[str]]
    """Tag beside the digest, for people: programs use `ref`. Default `latest`, or the target's name."""
    builder: NotRequired[AnyImageBuilder]
    """`docker-build` or `docker`. Default `docker-build`."""
    builder_name: NotRequired[pulumi.Input[str]]
    """Name of a `docker buildx` builder; only with `docker-build`. Default: the current one."""
    credentials: NotRequired[RegistryCredentials]
    """Login to the registry. Default: what `docker login` left on this machine."""
    cache: NotRequired[bool]
    """Keep BuildKit's cache in the registry too, under the tag `buildcache`, for builders that start empty. Default
    false; only with `docker-build`."""
    compression: NotRequired[AnyCompression]
    """`zstd` or `gzip`. Default `zstd`; only with `docker-build`."""
    push: NotRequired[bool]
    """Whether to push the image. Default true. Without, no cluster but the builder's own can run it."""


class ModelImage(pulumi.ComponentResource):
    """Builds an image with BuildKit, or a Docker Engine, and pushes it. Nothing is built by a preview.

    An unchanged context, Dockerfile and set of build arguments build nothing.
    """

    ref: pulumi.Output[str]
    """The image by digest: `repository@sha256:…`."""
    digest: pulumi.Output[str]
    """The digest alone: `sha256:…`."""

    def __init__(self, name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:ModelImage", name, None, opts)
        name = objects_name(name, opts)
        build = _with_docker if args.get("builder") is ImageBuilder.DOCKER else _with_buildkit
        self.digest = build(name, args, pulumi.ResourceOptions(parent=self))
        self.ref = pulumi.Output.concat(args["repository"], "@", self.digest)
        self.register_outputs({"ref": self.ref, "digest": self.digest})


def _checked(name: str, args: ModelImageArgs) -> ModelImageArgs:
    problems = Problems("ModelImage", name)
    args = read_args(args, ModelImageArgs, problems)
    problems.repository("repository", args.get("repository"))
    if isinstance(context := args.get("context"), str):
        _check_files(problems, context, args.get("dockerfile"))
    for index, platform in enumerate(args.get("platforms") or []):
        if isinstance(platform, str) and "/" not in platform:
            problems.add(f"platforms[{index}]", platform, "must be <system>/<architecture>, such as linux/amd64")
    if args.get("builder") is ImageBuilder.DOCKER:
        _check_docker(problems, args)
    problems.raise_if_any()
    return args


def _check_files(problems: Problems, context: str, dockerfile: str | None) -> None:
    if not context or not Path(context).is_dir():
        problems.add("context", context, "must be a folder")
    elif not (file := _dockerfile(context, dockerfile)).is_file():
        problems.add("dockerfile", str(file), "must be a file")


def _check_docker(problems: Problems, args: ModelImageArgs) -> None:
    for field in ("builder_name", "cache", "compression"):
        if field in args:
            problems.add(field, args[field], "must not be given with the docker builder")
    if len(platforms := args.get("platforms") or []) > 1:
        problems.add("platforms", list(platforms), "must be at most one with the docker builder")


def _dockerfile(context: str, dockerfile: str | None) -> Path:
    return Path(dockerfile) if dockerfile else Path(context) / "Dockerfile"


def _tag(args: ModelImageArgs) -> pulumi.Input[str]:
    return args.get("tag") or args.get("target") or DEFAULT_TAG


def registry_host(repository: str) -> str:
    """The registry that a repository names, Docker Hub where it names none."""
    first, slash, _ = repository.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _with_buildkit(name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    # Imported here so that `import modelops` loads the SDK of a builder only when an image uses it.
    import pulumi_docker_build as docker_build

    repository, push = args["repository"], args.get("push", True)
    tag = pulumi.Output.concat(repository, ":", _tag(args))
    compression = Compression(args.get("compression", Compression.ZSTD))
    export = docker_build.ExportRegistryArgs(
        push=push,
        oci_media_types=True,
        compression=docker_build.CompressionType(compression.value),
        compression_level=DEFAULT_COMPRESSION_LEVEL,
        force_compression=True,
    )
    image = docker_build.Image(
        name,
        context=docker_build.BuildContextArgs(location=args["context"]),
        dockerfile=docker_build.DockerfileArgs(location=str(_dockerfile(args["context"], args.get("dockerfile")))),
        target=args.get("target"),
        build_args=args.get("build_args"),
        platforms=[docker_build.Platform(platform) for platform in args.get("platforms") or []] or None,
        tags=[tag],
        push=False,  # the export below pushes, with the compression that the short form can't name
        exports=[docker_build.ExportArgs(registry=export)],
        build_on_preview=False,
        builder=docker_build.BuilderConfigArgs(name=args["builder_name"]) if "builder_name" in args else None,
        registries=_logins(args),
        cache_from=[_cache_from(repository)] if args.get("cache") else None,
        cache_to=[_cache_to(repository)] if args.get("cache") else None,
        opts=opts,
    )
    return image.digest.apply(_known_digest)


def _known_digest(digest: str | None) -> str:
    """The digest, unknown while a preview can't have it.

    The docker-build provider previews a changed image with an empty digest that counts as known; with it a plan would
    show a wrong reference, and a run id of nothing.
    """
    if digest:
        return digest
    if pulumi.runtime.is_dry_run():
        return cast(str, pulumi.UNKNOWN)
    raise pulumi.RunError("the build gave no digest, though it should have been exported to the registry")


def _logins(args: ModelImageArgs) -> "list[docker_build.RegistryArgs] | None":
    import pulumi_docker_build as docker_build

    if "credentials" not in args:
        return None
    credentials = args["credentials"]
    return [
        docker_build.RegistryArgs(
            address=credentials.get("address") or registry_host(args["repository"]),
            username=credentials["username"],
            password=pulumi.Output.secret(credentials["password"]),
        )
    ]


def _cache_from(repository: str) -> "docker_build.CacheFromArgs":
    import pulumi_docker_build as docker_build

    return docker_build.CacheFromArgs(registry=docker_build.CacheFromRegistryArgs(ref=f"{repository}:{CACHE_TAG}"))


def _cache_to(repository: str) -> "docker_build.CacheToArgs":
    import pulumi_docker_build as docker_build

    return docker_build.CacheToArgs(
        registry=docker_build.CacheToRegistryArgs(
            ref=f"{repository}:{CACHE_TAG}",
            mode=docker_build.CacheMode.MAX,  # the layers of earlier stages too: those are the slow ones
            image_manifest=True,
            oci_media_types=True,
        )
    )


def _with_docker(name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    import pulumi_docker as docker

    registry = None
    if "credentials" in args:
        credentials = args["credentials"]
        registry = docker.RegistryArgs(
            server=credentials.get("address") or registry_host(args["repository"]),
            username=credentials["username"],
            password=pulumi.Output.secret(credentials["password"]),
        )
    image = docker.Image(
        name,
        image_name=pulumi.Output.concat(args["repository"], ":", _tag(args)),
        build=docker.DockerBuildArgs(
            context=args["context"],
            dockerfile=str(_dockerfile(args["context"], args.get("dockerfile"))),
            target=args.get("target"),
            args=args.get("build_args"),
            platform=next(iter(args.get("platforms") or []), None),
            builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
        ),
        build_on_preview=False,
        skip_push=not args.get("push", True),
        registry=registry,
        opts=opts,
    )
    return image.repo_digest.apply(lambda pushed: pushed.rpartition("@")[2])
