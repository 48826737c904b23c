"""DataPipeline: turns raw data into a version of training data."""
