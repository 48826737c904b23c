"""Kubernetes objects that several stages share: pods, Jobs, volumes, network policies, certificates."""
