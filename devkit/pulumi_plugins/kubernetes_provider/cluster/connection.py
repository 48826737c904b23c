"""The configured cluster: its client, or the reason why there is none."""

import threading
from dataclasses import dataclass, field

from ..errors import Unreachable
from . import kubeconfig
from .client import Client
from .discovery import Discovery
from .settings import Settings


@dataclass
class Cluster:
    """A configured provider's cluster."""

    settings: Settings
    namespace: str = ""
    """For namespaced objects that name none."""
    unreachable: str = ""
    """Why the cluster can't be used; empty when it can."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    _client: Client | None = None
    _discovery: Discovery | None = None

    @property
    def client(self) -> Client:
        """The client. Raises Unreachable."""
        if self._client is None or self.unreachable:
            raise Unreachable(f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        return self._client

    @property
    def discovery(self) -> Discovery:
        """The server's kinds. Raises Unreachable."""
        if self._discovery is None or self.unreachable:
            raise Unreachable(f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        return self._discovery


def connect(settings: Settings, cancelled: threading.Event) -> Cluster:
    """The cluster that `settings` name. One that can't be reached is no error here: a preview may go on without."""
    cluster = Cluster(settings, namespace=settings.namespace, cancelled=cancelled)
    try:
        config = kubeconfig.select(
            kubeconfig.load(settings.kubeconfig), context=settings.context, cluster=settings.cluster
        )
        cluster.namespace = settings.namespace or kubeconfig.namespace(config)
        client = Client(config, timeout=settings.client_timeout_seconds or None)
        client.ping()
    except (Unreachable, OSError) as error:
        cluster.unreachable = str(error)
        return cluster
    cluster._client, cluster._discovery = client, Discovery(client)
    return cluster
