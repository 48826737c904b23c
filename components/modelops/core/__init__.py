"""What knows nothing of Kubernetes: checks of arguments, outputs, names, images, the identity of a run."""
