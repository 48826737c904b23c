"""The sample model: a line or clouds of points, in TensorFlow, PyTorch and MXNet."""
