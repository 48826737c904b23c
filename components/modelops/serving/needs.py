"""What ModelService's arguments need of the server. This project's has all of it; a server of a team's own may not."""

from collections.abc import Mapping

import pulumi

from modelops.serving.args import MetricNames, ModelServiceArgs, is_vllm
from modelops.serving.release import shadow
from modelops.serving.release.analysis import drift_bound
from modelops.serving.release.args import Mirroring

NEEDS: Mapping[str, str] = {
    "drain_seconds": "answer for MODELOPS_DRAIN_SECONDS after SIGTERM, with `Connection: close`",
    "smoke_test": "answer POST /api/predict",
    "grpc_port": "answer gRPC on MODELOPS_GRPC_PORT",
    "tracing": "send spans as OpenTelemetry's variables say",
    "autoscaling.target_requests_per_second": "expose modelops_requests_total",
    "autoscaling.target_latency_ms": "expose modelops_request_duration_seconds",
    "canary.analysis": "expose modelops_requests_total, modelops_request_duration_seconds and"
    " process_start_time_seconds",
    "canary.analysis.max_prediction_drift": "expose modelops_prediction_value, unless it is 0",
    "shadow.mirroring": "send copies of the requests to MODELOPS_MIRROR_URL, unless it is `Gateway`",
}
"""By argument. docs/tutorial/bring-your-own.md says what is lost without each."""
PAGE = "docs/tutorial/bring-your-own.md"


def needs(args: ModelServiceArgs) -> dict[str, str]:
    """Those of NEEDS that apply to these arguments."""
    if is_vllm(args):
        return {}
    scaling, canary = args.get("autoscaling", {}), args.get("canary", {})
    analysis = canary.get("analysis")
    given = {
        # Every server drains; only of one that is surely a team's own is it worth a word.
        "drain_seconds": "drain_seconds" in args and "serve_command" in args,
        "smoke_test": "smoke_test" in args,
        # As for draining: this project's images need an extra for these, and say so themselves.
        "grpc_port": "grpc_port" in args and "serve_command" in args,
        "tracing": "tracing" in args and "serve_command" in args,
        "autoscaling.target_requests_per_second": "target_requests_per_second" in scaling,
        "autoscaling.target_latency_ms": "target_latency_ms" in scaling,
        "canary.analysis": analysis is not None,
        "canary.analysis.max_prediction_drift": analysis is not None and drift_bound(analysis, args) != 0,
        "shadow.mirroring": shadow.mirrored_by(args, Mirroring.SERVER),
    }
    return {argument: NEEDS[argument] for argument, applies in given.items() if applies}


def say_needs(service: pulumi.Resource, args: ModelServiceArgs) -> None:
    """Says in a preview what the server must do for the arguments that are given."""
    found = needs(args)
    if not found or not pulumi.runtime.is_dry_run():
        return
    whose = "the server that serve_command starts" if "serve_command" in args else "a server other than modelops-serve"
    names = MetricNames(args.get("metric_names", MetricNames.MODELOPS))
    called = "" if names is MetricNames.MODELOPS else f"; metrics as {names.value} calls them"
    lines = [f"  {argument}: {need}" for argument, need in found.items()]
    pulumi.log.info("\n".join([f"for these arguments {whose} must ({PAGE}{called}):", *lines]), service)
