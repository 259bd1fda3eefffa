"""Learning from feedback: preference data, and the objectives that learn from it."""
