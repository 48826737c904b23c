"""TrainingJob: one run, on one pod or many, that ends with a published model version."""
