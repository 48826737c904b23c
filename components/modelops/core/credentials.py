"""Credentials with which the program itself asks a server."""

import base64
import os
import re


def basic(username: str, password: str) -> str:
    """An Authorization header."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def mlflow_authorization() -> str:
    """The header for a tracking server, by the variables that MLflow's clients read. Empty without any of them."""
    if username := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return basic(username, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""


def without_login(text: str) -> str:
    """A text that can be shown: where an address in it has a user name and password, three dots."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "…@", text)
