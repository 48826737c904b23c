"""The cluster that the provider is configured for: settings, kubeconfig, requests and the kinds that it serves."""
