"""Overlays, figures and tables. Imports `labels` only.

Nothing is imported here, so that a module that draws one overlay doesn't load matplotlib.
"""
