"""`gr.Blocks` that accept only uploaded files, and report every failure in one sentence."""

import logging

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.components.api_component import Api

from hfseg.errors import UserError

from .arguments import Endpoint, Refused, check_files
from .gate import OUR_FAULT

BAD_REQUEST = "The request is not what this endpoint takes: /gradio_api/info lists the parameters."
_log = logging.getLogger("hfseg.demo")


class GuardedBlocks(gr.Blocks):
    """Checks all inputs of functions, from the queue or from direct calls."""

    def endpoints(self) -> dict[str, Endpoint]:
        """The functions that are called by name."""
        return {
            str(block_fn.api_name): Endpoint(block_fn.fn, block_fn.queue)
            for block_fn in self.fns.values()
            if block_fn.api_name and block_fn.fn and _is_api(block_fn)
        }

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[object], *args: object, **kwargs: object
    ) -> list[object]:
        try:
            check_files(inputs)
            if _is_api(block_fn):
                Endpoint(block_fn.fn).check(inputs)
                # curl may leave out parameters with defaults, as Python's client may
                inputs = [*inputs, *(block.value for block in block_fn.inputs[len(inputs) :])]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Refused as refusal:
            raise shown(refusal.sentence) from None
        except gr.Error:
            raise
        except Exception:  # caused by the visitor's input, so it is not logged
            raise shown(BAD_REQUEST) from None

    async def process_api(self, *args: object, **kwargs: object) -> dict[str, object]:
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
    """The sentence for the visitor: plain text, which the page shows as such."""
    sentence = sentence[:1].upper() + sentence[1:].removesuffix(".") + "."
    return gr.Error(sentence, title="", print_exception=False)


def _is_api(block_fn: BlockFunction) -> bool:
    return all(isinstance(block, Api) for block in block_fn.inputs)
