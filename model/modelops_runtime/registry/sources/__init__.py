"""Where a model's files are: on a tracking server, in an object store, on the Hugging Face Hub, in a folder."""
