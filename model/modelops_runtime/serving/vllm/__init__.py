"""What is added to vLLM: a middleware, and what its pod does before it ends."""
