"""Adds the functions of the page to gradio, each under its own name."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

from .tab import Tab
from .web_api import OUTPUTS, WebApi


def add_endpoints(api: WebApi, tabs: Iterable[Tab]) -> None:
    """Add the documented endpoints and those of the tabs inside `gr.Blocks`."""
    for function, options in api.endpoints().items():
        _add(function, OUTPUTS[function.__name__], **options)
    for tab in tabs:
        for function, options in tab.endpoints().items():
            # undocumented, since they change with the page
            _add(function, ("answer",), **options, api_visibility="undocumented")


def _add(endpoint: Callable[..., Any], outputs: Sequence[str], **options: Any) -> None:
    added = gr.api(endpoint, api_name=endpoint.__name__, **options)
    context = gr.context.Context.root_block
    assert context is not None
    for block, name in zip(context.fns[added["id"]].outputs, outputs, strict=True):
        block.label = name
