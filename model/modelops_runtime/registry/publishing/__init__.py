"""What publishing knows of a training and of MLflow: gates, runs, records and the model itself."""
