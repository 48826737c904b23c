"""Everything that talks to a model registry: publish, gate, select, promote, fetch, transfer."""
