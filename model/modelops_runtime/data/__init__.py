"""From raw data to a version of split training data."""
