"""What the containers of a model's life cycle run: prepare, train, publish, fetch, serve. See docs/model.md."""
