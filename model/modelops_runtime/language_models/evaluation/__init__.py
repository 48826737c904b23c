"""Evaluation of language models: answers and their scores, losses, tasks of lm-evaluation-harness (docs/model.md)."""
