"""DataPipeline: from raw data to a version of training data."""
