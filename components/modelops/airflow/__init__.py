"""AirflowPipeline: data, training and registration as a DAG."""
