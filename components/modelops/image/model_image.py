"""ModelImage: an image built from a folder, pushed, and referenced by digest."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, cast

import pulumi

from modelops.core.component import arguments_in_one, child_options
from modelops.core.naming import objects_name
from modelops.core.outputs import register_declared_outputs
from modelops.core.validation import Problems, read_args

CACHE_TAG = "buildcache"
DEFAULT_TAG = "latest"
DEFAULT_COMPRESSION_LEVEL = 3
SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
_OF_FOLDER = "FROM scratch\nCOPY --chmod=755 . /\n"
"""Dockerfile of a model's folder. Every user can read the files, whatever modes they have here: vLLM has another
user than the rest."""
_OF_DOCKERFILE = ("dockerfile", "target", "build_args")


class ImageBuilder(Enum):
    """The program that builds the image."""

    DOCKER_BUILD = "docker-build"
    """BuildKit, through the `docker-build` provider: any `docker buildx` builder, no Docker Engine needed."""
    DOCKER = "docker"
    """This machine's Docker Engine, through the `docker` provider."""


class Compression(Enum):
    """How image layers are compressed."""

    ZSTD = "zstd"
    """Small and fast; needs containerd 1.5 or Docker 23 where the image runs."""
    GZIP = "gzip"
    """Supported everywhere."""


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
    """Password or token. Always secret in the state, even if passed as plain text."""
    address: NotRequired[pulumi.Input[str]]
    """Host of the registry. Default: the host in `repository`."""


class ModelImageArgs(TypedDict):
    """Arguments of ModelImage."""

    context: str
    """Build context: a folder, relative to the program's folder. A changed file makes a new image, unless it is in
    `.dockerignore`; a changed timestamp doesn't."""
    repository: pulumi.Input[str]
    """Repository to push to, without a tag: `registry.example.com/team/model`."""
    artifact: NotRequired[bool]
    """Whether `context` is a model's folder, to push as it is, for ModelService's `oci://…`: the image has its files
    and nothing else, and needs no Dockerfile. Default false; only with `docker-build`."""
    dockerfile: NotRequired[str]
    """Dockerfile, relative to the program's folder. Default: `Dockerfile` in `context`. Not with `artifact`."""
    target: NotRequired[pulumi.Input[str]]
    """Stage of the Dockerfile to build. Default: the last one."""
    build_args: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[str]]]]
    """Values of the Dockerfile's `ARG`s. Anyone can read them from the image, so no secrets. With `SOURCE_DATE_EPOCH`,
    in seconds since 1970, nothing that the build makes is newer than that, and a builder without a cache makes the
    same digest again. Default: none."""
    platforms: NotRequired[Sequence[pulumi.Input[str]]]
    """Platforms such as `linux/amd64`; at most one with the `docker` builder. Default: the builder's own."""
    tag: NotRequired[pulumi.Input[str]]
    """Tag for people to read; programs use `ref`. Default: the target's name, or `latest`."""
    builder: NotRequired[AnyImageBuilder]
    """`docker-build` or `docker`. Default `docker-build`."""
    builder_name: NotRequired[pulumi.Input[str]]
    """Name of a `docker buildx` builder; only with `docker-build`. Default: the current one."""
    credentials: NotRequired[RegistryCredentials]
    """Login to the registry. Default: this machine's `docker login`."""
    cache: NotRequired[bool]
    """Whether to keep BuildKit's cache in the registry too, under the tag `buildcache`, for builders that start empty.
    Default false; only with `docker-build`."""
    compression: NotRequired[pulumi.Input[AnyCompression]]
    """`zstd` or `gzip`. Default `zstd`; only with `docker-build`."""
    push: NotRequired[pulumi.Input[bool]]
    """Whether to push the image. Default true. An image that is not pushed only runs where it was built."""


class ModelImage(pulumi.ComponentResource):
    """Builds an image with BuildKit or a Docker Engine and pushes it.

    A preview builds nothing, nor does an update whose context, Dockerfile and build arguments are unchanged.
    """

    ref: pulumi.Output[str]
    """The image by digest: `repository@sha256:…`."""
    digest: pulumi.Output[str]
    """The digest alone: `sha256:…`."""
    model_uri: pulumi.Output[str] | None
    """With `artifact`, what ModelService serves: `oci://repository@sha256:…`. None without."""

    @arguments_in_one
    def __init__(self, name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:ModelImage", name, None, opts)
        name = objects_name(name, opts)
        build = _with_docker if args.get("builder") is ImageBuilder.DOCKER else _with_buildkit
        self.digest = build(name, args, child_options(self))
        self.ref = pulumi.Output.concat(args["repository"], "@", self.digest)
        self.model_uri = pulumi.Output.concat("oci://", self.ref) if args.get("artifact") else None
        register_declared_outputs(self)


def _checked(name: str, args: ModelImageArgs) -> ModelImageArgs:
    problems = Problems("ModelImage", name)
    args = read_args(args, ModelImageArgs, problems)
    problems.repository("repository", args.get("repository"))
    if isinstance(context := args.get("context"), str):
        _check_files(problems, context, args)
    for index, platform in enumerate(args.get("platforms") or []):
        if isinstance(platform, str) and "/" not in platform:
            problems.add(f"platforms[{index}]", platform, "must be <system>/<architecture>, such as linux/amd64")
    if args.get("builder") is ImageBuilder.DOCKER:
        _check_docker(problems, args)
    for field in _OF_DOCKERFILE if args.get("artifact") else ():
        if field in args:
            problems.add(field, args.get(field), "must not be given with artifact, which has no Dockerfile")
    if args.get("artifact") and args.get("push") is False:
        problems.add("push", False, "must not be given with artifact, which pods take from the registry")
    problems.raise_if_any()
    return args


def _check_files(problems: Problems, context: str, args: ModelImageArgs) -> None:
    if not context or not Path(context).is_dir():
        problems.add("context", context, "must be a folder")
    elif args.get("artifact") and not any(Path(context).iterdir()):
        problems.add("context", context, "must have a model's files, and is empty")
    elif not args.get("artifact") and not (file := _dockerfile(context, args.get("dockerfile"))).is_file():
        problems.add("dockerfile", str(file), "must be a file")


def _check_docker(problems: Problems, args: ModelImageArgs) -> None:
    for field in ("builder_name", "cache", "compression", "artifact"):
        if field in args:
            problems.add(field, args.get(field), "must not be given with the docker builder")
    if len(platforms := args.get("platforms") or []) > 1:
        problems.add("platforms", list(platforms), "must be at most one with the docker builder")


def _dockerfile(context: str, dockerfile: str | None) -> Path:
    return Path(dockerfile) if dockerfile else Path(context) / "Dockerfile"


def _tagged(args: ModelImageArgs) -> pulumi.Output[str]:
    return pulumi.Output.concat(args["repository"], ":", args.get("tag") or args.get("target") or DEFAULT_TAG)


def _login(args: ModelImageArgs) -> dict[str, Any] | None:
    """Address, user name and password for the image's registry: Docker Hub if `repository` names none."""
    if "credentials" not in args:
        return None
    credentials = args["credentials"]
    return {
        "address": credentials.get("address") or pulumi.Output.from_input(args["repository"]).apply(_host),
        "username": credentials["username"],
        "password": pulumi.Output.secret(credentials["password"]),
    }


def _host(repository: str) -> str:
    host, slash, _ = repository.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else "docker.io"


def _with_buildkit(name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    # Imported here, so that a builder's SDK is loaded only if an image uses it.
    import pulumi_docker_build as docker_build

    build_args: Any = args.get("build_args", {})
    compression = args.get("compression", Compression.ZSTD)
    export = pulumi.Output.all(build_args, args.get("push", True), compression).apply(lambda given: exported(*given))
    login = _login(args)
    cache: dict[str, Any] = {}
    if args.get("cache"):
        ref = pulumi.Output.concat(args["repository"], ":", CACHE_TAG)
        cache_to = docker_build.CacheToRegistryArgs(
            ref=ref,
            mode=docker_build.CacheMode.MAX,  # includes the layers of earlier stages, which are the slow ones
            image_manifest=True,
            oci_media_types=True,
        )
        cache["cache_from"] = [docker_build.CacheFromArgs(registry=docker_build.CacheFromRegistryArgs(ref=ref))]
        cache["cache_to"] = [docker_build.CacheToArgs(registry=cache_to)]
    image = docker_build.Image(
        name,
        context=docker_build.BuildContextArgs(location=args["context"]),
        dockerfile=docker_build.DockerfileArgs(
            **(
                {"inline": _OF_FOLDER}
                if args.get("artifact")
                else {"location": str(_dockerfile(args["context"], args.get("dockerfile")))}
            )
        ),
        target=args.get("target"),
        build_args=args.get("build_args"),
        platforms=[
            pulumi.Output.from_input(platform).apply(docker_build.Platform) for platform in args.get("platforms") or []
        ]
        or None,
        tags=[_tagged(args)],
        push=False,  # the export pushes, because this shorthand can't set the compression
        exports=[docker_build.ExportArgs(raw=export)],
        build_on_preview=False,
        builder=docker_build.BuilderConfigArgs(name=args["builder_name"]) if "builder_name" in args else None,
        registries=[docker_build.RegistryArgs(**login)] if login else None,
        opts=opts,
        **cache,
    )
    return image.digest.apply(_known_digest)


def exported(build_args: Mapping[str, str], push: bool, compression: Compression | str = Compression.ZSTD) -> str:
    """How the image is exported, in BuildKit's words: those of the provider's SDK have no `rewrite-timestamp`."""
    fields = {
        "type": "registry",
        "push": push,
        "oci-mediatypes": True,
        "compression": Compression(compression).value,
        "compression-level": DEFAULT_COMPRESSION_LEVEL,
        "force-compression": True,
    }
    if SOURCE_DATE_EPOCH in build_args:
        fields["rewrite-timestamp"] = True
    return ",".join(f"{name}={str(value).lower()}" for name, value in fields.items())


def _known_digest(digest: str | None) -> str:
    """The digest; unknown in a preview that has none.

    The docker-build provider previews a changed image with an empty digest that counts as known. A plan would then show
    a wrong reference and a wrong run id.
    """
    if digest:
        return digest
    if pulumi.runtime.is_dry_run():
        return cast(str, pulumi.UNKNOWN)
    raise pulumi.RunError("the build returned no digest, although it exports the image to the registry")


def _with_docker(name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    import pulumi_docker as docker

    login = _login(args)
    image = docker.Image(
        name,
        image_name=_tagged(args),
        build=docker.DockerBuildArgs(
            context=args["context"],
            dockerfile=str(_dockerfile(args["context"], args.get("dockerfile"))),
            target=args.get("target"),
            args=args.get("build_args"),
            platform=next(iter(args.get("platforms") or []), None),
            builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
        ),
        build_on_preview=False,
        skip_push=pulumi.Output.from_input(args.get("push", True)).apply(lambda push: not push),
        registry=docker.RegistryArgs(server=login.pop("address"), **login) if login else None,
        opts=opts,
    )
    return image.repo_digest.apply(lambda repo_digest: repo_digest.rpartition("@")[2])
