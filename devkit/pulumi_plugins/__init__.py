"""Pulumi plugins for machines that can't download the official ones: a Python language host and a Kubernetes provider."""
