"""A stand-in for the official Kubernetes provider of Pulumi, for machines that can't download it.

It keeps the semantics that this project relies on; what it does not do is in `refused.py`.
"""
