"""Score a dialogue: read answers, find what the tutor gave away, ask judges, turn scores into rewards.
Scores are facts with a reason; what they are worth is decided elsewhere, by arithmetic."""
