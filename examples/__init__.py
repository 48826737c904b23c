"""Models from raw files to served predictions: docs/data-examples.md."""
