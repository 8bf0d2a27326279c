"""Evaluation of a trained model on a labeled split: scores, report, and the claim of its card."""
