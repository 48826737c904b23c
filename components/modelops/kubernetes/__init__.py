"""What several stages make of Kubernetes: pods, Jobs, volumes, network policies, certificates."""
