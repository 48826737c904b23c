"""What the images run: the sample model's training, publishing, fetching and serving."""
