"""Large models on the real cluster: data, fine-tuning, evaluation, registry, serving, releases."""
