"""Fine-tuning by TRL, Transformers, PEFT and Accelerate, with the training contract around them (docs/model.md)."""
