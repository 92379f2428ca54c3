"""Generation: targets, and the ladder that is a target made of targets."""
