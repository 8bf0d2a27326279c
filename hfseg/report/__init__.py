"""Pictures, figures and the model card: what a run says about itself.

Nothing is imported here, so that a module that draws one overlay doesn't load matplotlib.
"""
