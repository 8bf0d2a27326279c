"""Model cards: the facts, licenses, citations and redaction behind them."""
