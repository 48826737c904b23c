"""Claims, volumes, quotas and token secrets."""

from collections.abc import Mapping

from .base import Awaiter, Feed, Object, Verdict, at


class ClaimAwaiter(Awaiter):
    """A claim is bound; one whose class waits for its first consumer may also be pending."""

    default_timeout_seconds = 300.0
    waits_on_read = False

    def feeds(self) -> list[Feed]:
        return [Feed("classes", "storage.k8s.io/v1", "StorageClass")]

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        phase = at(obj, "status", "phase")
        class_name = at(obj, "spec", "storageClassName")
        waits_for_consumer = any(
            at(each, "metadata", "name") == class_name and each.get("volumeBindingMode") == "WaitForFirstConsumer"
            for each in related["classes"]
        )
        if phase == "Bound" or (waits_for_consumer and phase == "Pending"):
            return Verdict(ready=True)
        return Verdict(status=f"Waiting for the claim to be bound ({phase})", reasons=[f"claim is {phase}, not Bound"])


class VolumeAwaiter(Awaiter):
    """A volume is available or bound."""

    default_timeout_seconds = 300.0
    waits_on_read = False

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        phase = at(obj, "status", "phase")
        if phase in ("Available", "Bound"):
            return Verdict(ready=True)
        return Verdict(status=f"Waiting for the volume ({phase})", reasons=[f"volume is {phase}"])


class QuotaAwaiter(Awaiter):
    """A quota is in force: its status has the limits of its spec."""

    default_timeout_seconds = 60.0
    waits_on_read = False

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        if at(obj, "spec", "hard") == at(obj, "status", "hard"):
            return Verdict(ready=True)
        return Verdict(status="Waiting for the quota to be in force", reasons=["the quota is not in force"])


class TokenSecretAwaiter(Awaiter):
    """The Secret of a service account's token has its data; other Secrets are ready as they are."""

    default_timeout_seconds = 5.0
    waits_on_read = False

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        if obj.get("type") != "kubernetes.io/service-account-token" or obj.get("data"):
            return Verdict(ready=True)
        return Verdict(status="Waiting for the token", reasons=["the token controller wrote no token"])
