"""What any training needs: checkpoints, rendezvous, progress, a graceful stop."""
