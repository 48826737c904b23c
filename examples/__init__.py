"""Models from raw files to served predictions: docs/how-to/data-examples.md."""
