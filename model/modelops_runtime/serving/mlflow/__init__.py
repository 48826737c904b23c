"""Models as plain MLflow logs them, without our manifest."""
