"""The server: a bare ASGI application on uvicorn; LiteRT predicts. No TensorFlow, no pandas."""
