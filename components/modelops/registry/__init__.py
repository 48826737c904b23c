"""ModelRegistry and ModelPromotion: where model versions are kept, and how they get to another registry."""
