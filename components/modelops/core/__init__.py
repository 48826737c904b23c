"""The parts without Kubernetes: argument checks, outputs, names, images, the identity of a run."""
