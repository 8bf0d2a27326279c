"""Tab *About*: the card of each model, without anything that would reach out of this page."""

import gradio as gr

from .inputs import PRIVATE, model_menu
from .shown_models import ShownModels


def about_tab(models: ShownModels, tab: gr.Tab) -> None:
    """Build the tab inside `gr.Blocks`; a card is read when the tab is opened."""
    model = model_menu(models, "about-model")
    card = gr.HTML(elem_id="card", elem_classes="card")
    tab.select(models.card, model, card, **PRIVATE)
    model.change(models.card, model, card, **PRIVATE)
