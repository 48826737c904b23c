"""TrainingJob: a run on one pod or several that publishes a model version."""
