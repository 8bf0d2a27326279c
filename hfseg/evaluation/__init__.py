"""A trained model against a labelled split: scores, report, and the claim of its card."""
