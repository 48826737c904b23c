"""Kubernetes objects as data: from and to the engine's properties, and in the form in which the server writes them."""
