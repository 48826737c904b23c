"""DataPipeline on the real cluster."""
