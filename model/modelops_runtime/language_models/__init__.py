"""Large language models: fine-tuning, and the folder that it leaves."""
