"""`gr.Blocks` that take no file but an uploaded one, and answer every failure in one sentence."""

import html
import logging
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from hfseg.errors import UserError

from .arguments import Endpoint, Refused, check_files
from .gate import OUR_FAULT

BAD_REQUEST = "The request is not what this endpoint takes: /gradio_api/info lists the parameters."
_log = logging.getLogger("hfseg.demo")


class GuardedBlocks(gr.Blocks):
    """Checks whatever reaches a function, by way of the queue or directly."""

    def endpoints(self) -> dict[str, Endpoint]:
        """The functions that are called by name."""
        return {
            str(block_fn.api_name): Endpoint(block_fn.fn, block_fn.queue)
            for block_fn in self.fns.values()
            if block_fn.api_name and block_fn.fn and _is_api(block_fn)
        }

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any):
        try:
            check_files(inputs)
            if _is_api(block_fn):
                Endpoint(block_fn.fn).check(inputs)
                # curl may leave out what has a default, as Python's client may
                inputs = [*inputs, *(block.value for block in block_fn.inputs[len(inputs) :])]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Refused as refusal:
            raise shown(refusal.sentence) from None
        except gr.Error:
            raise
        except Exception:  # whatever a stranger sent; theirs, so nothing for our log
            raise shown(BAD_REQUEST) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except UserError as error:
            raise shown(str(error)) from None
        except Exception:
            _log.exception("An endpoint failed")
            raise shown(OUR_FAULT) from None


def shown(sentence: str) -> gr.Error:
    """The sentence for the visitor; gradio's pages show it as HTML."""
    sentence = html.escape(sentence, quote=False)
    return gr.Error(sentence[:1].upper() + sentence[1:], title="", print_exception=False)


def _is_api(block_fn: Any) -> bool:
    return all(isinstance(block, Api) for block in block_fn.inputs)
