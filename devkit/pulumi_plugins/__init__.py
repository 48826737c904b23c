"""Pulumi plugins for machines that can't download the official ones: a Python language host, a Kubernetes provider."""
