"""Large language models: fine-tuning."""
