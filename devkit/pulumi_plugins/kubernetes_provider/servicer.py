"""The resource provider service that the engine calls."""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import ResourceProviderServicer, plugin_pb2, provider_pb2, status_pb2

from . import refused
from .cluster import settings
from .cluster.config_diff import diff_config
from .cluster.connection import Cluster, connect
from .errors import ApiError, NoMatchError, Refused, Unreachable
from .objects.properties import decode, encode
from .operations.check import check
from .operations.delete import delete
from .operations.diff import diff
from .operations.host import Host
from .operations.read import GONE, read
from .operations.requests import Naming, Resource, Written
from .operations.write import Writer
from .schema import schema

VERSION = "4.34.2"


@dataclass(frozen=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: Any = None


def _report_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a method's errors into gRPC errors."""

    @functools.wraps(method)
    def call(self: "KubernetesProvider", request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except (ApiError, NoMatchError, Refused, Unreachable, ValueError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return call


def _abort_partial(context: grpc.ServicerContext, message: str, written: Written) -> None:
    """Report that the resource exists but failed to initialize: the engine keeps it with the reasons."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=written.id,
        properties=encode(written.state),
        reasons=[message, *written.reasons],
        inputs=encode(written.inputs) if written.inputs else None,
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().Pack(detail)
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    context.abort_with_status(_Status(grpc.StatusCode.UNKNOWN, message, metadata))


class KubernetesProvider(ResourceProviderServicer):
    """One configured provider."""

    def __init__(self, engine_address: str) -> None:
        self._host = Host(engine_address)
        self._cancelled = threading.Event()
        self._configured: Cluster | None = None

    @property
    def _cluster(self) -> Cluster:
        if self._configured is None:
            raise Unreachable("the provider has not been configured")
        return self._configured

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._host = Host(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:
        return provider_pb2.GetSchemaResponse(schema=schema(VERSION))

    def GetMapping(self, request: Any, context: grpc.ServicerContext) -> Any:
        return provider_pb2.GetMappingResponse()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._cancelled.set()
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        problems = settings.refused_settings(decode(request.news))
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in problems]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @_report_errors
    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        diffs, replaces = diff_config(decode(request.olds), decode(request.news))
        kind = provider_pb2.DiffResponse.DIFF_SOME if diffs else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind, diffs=diffs, replaces=replaces)

    @_report_errors
    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._configured = connect(settings.from_variables(dict(request.variables)), self._cancelled)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @_report_errors
    def Parameterize(self, request: Any, context: grpc.ServicerContext) -> Any:
        raise refused.refuse(refused.PARAMETERIZE)

    @_report_errors
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        feature = refused.refused_type(request.tok)
        raise refused.refuse(feature) if feature else Refused(f'unknown Invoke type "{request.tok}"')

    @_report_errors
    def Construct(self, request: Any, context: grpc.ServicerContext) -> Any:
        feature = refused.refused_type(request.type)
        raise refused.refuse(feature) if feature else Refused(f'unknown component type "{request.type}"')

    @_report_errors
    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        options = request.autonaming
        modes = provider_pb2.CheckRequest.AutonamingOptions
        autonaming = Naming(
            seed=request.randomSeed,
            proposed=options.proposed_name if request.HasField("autonaming") else "",
            disabled=request.HasField("autonaming") and options.mode == modes.DISABLE,
        )
        olds = decode(request.olds) or None
        checked = check(self._cluster, self._host, Resource(request.urn), olds, decode(request.news), autonaming)
        return provider_pb2.CheckResponse(inputs=encode(checked))

    @_report_errors
    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        difference = diff(
            self._cluster,
            self._host,
            Resource(request.urn, request.id),
            decode(request.olds),
            decode(request.news),
            list(request.ignoreChanges),
        )
        some = provider_pb2.DiffResponse.DIFF_SOME if difference.any else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some,
            replaces=difference.replaces,
            deleteBeforeReplace=difference.delete_before_replace,
            detailedDiff={
                path: provider_pb2.PropertyDiff(
                    kind=provider_pb2.PropertyDiff.Kind.Value(kind), inputDiff=kind.startswith("DELETE")
                )
                for path, kind in difference.changes.items()
            },
            hasDetailedDiff=True,
        )

    @_report_errors
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        resource, news = Resource(request.urn), decode(request.properties)
        if request.preview and self._cluster.unreachable:
            return provider_pb2.CreateResponse(id="", properties=request.properties)
        try:
            written = Writer(self._cluster, self._host).create(resource, news, request.timeout, preview=request.preview)
        except ApiError as error:
            raise Refused(
                f'resource "{request.urn}" was not successfully created by the Kubernetes API server: {error}'
            ) from error
        except NoMatchError as error:
            raise Refused(
                f'creation of resource "{request.urn}" failed because the Kubernetes API server reported that the '
                f"apiVersion for this resource does not exist. Verify that any required CRDs have been created: {error}"
            ) from error
        if written.problem:
            message = (
                f'resource "{request.urn}" was successfully created, but the Kubernetes API server reported that it '
                f"failed to fully initialize or become live: {written.problem}"
            )
            _abort_partial(context, message, written)
        return provider_pb2.CreateResponse(id=written.id, properties=encode(written.state))

    @_report_errors
    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        resource = Resource(request.urn, request.id)
        if request.preview and self._cluster.unreachable:
            return provider_pb2.UpdateResponse(properties=request.news)
        written = Writer(self._cluster, self._host).update(
            resource,
            decode(request.olds),
            decode(request.news),
            request.timeout,
            list(request.ignoreChanges),
            preview=request.preview,
        )
        if written.problem:
            message = (
                f'the Kubernetes API server reported that "{written.id}" failed to fully initialize or become live: '
                f"{written.problem}"
            )
            _abort_partial(context, message, written)
        return provider_pb2.UpdateResponse(properties=encode(written.state))

    @_report_errors
    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        result = read(
            self._cluster,
            self._host,
            Resource(request.urn, request.id),
            decode(request.properties),
            decode(request.inputs),
        )
        if result is GONE:
            # Without properties: the engine would take empty ones for an object.
            return provider_pb2.ReadResponse()
        if result.problem:
            _abort_partial(context, result.problem, result)
        return provider_pb2.ReadResponse(id=result.id, properties=encode(result.state), inputs=encode(result.inputs))

    @_report_errors
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        kept = delete(
            self._cluster, self._host, Resource(request.urn, request.id), decode(request.properties), request.timeout
        )
        if kept is not None:
            _abort_partial(context, kept.problem, kept)
        return empty_pb2.Empty()
