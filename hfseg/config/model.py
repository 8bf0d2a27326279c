"""Model options: the architecture, its weights, and which parts are frozen."""

from dataclasses import dataclass, field

from hfseg.config.values import OptionValues, key_values
from hfseg.errors import UserError


@dataclass
class ModelArguments:
    """Which model, and where its weights come from."""

    _argument_group_name = "model"

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "segformer-b0..b5, upernet-convnext-tiny, deeplabv3plus-resnet50, "
            "unet-resnet34, ... (`hfseg models` lists them), a Hub id or a local folder"
        },
    )
    from_scratch: bool = field(default=False, metadata={"help": "start from random weights"})
    encoder_weights: str | None = field(
        default=None,
        metadata={
            "help": "source of a named model's encoder weights: a Hub id, a folder, a .safetensors "
            "or .pth state dict, or a name of weights the encoder offers"
        },
    )
    init_from: str | None = field(
        default=None,
        metadata={
            "help": "folder or Hub id of a trained model to start from: all of its weights where "
            "the architecture is the same, else those of its encoder"
        },
    )
    model_config: list[str] = field(
        default_factory=list,
        metadata={"help": "options of the architecture's config, such as output_stride=16"},
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "run code that comes with a Hub checkpoint"}
    )
    freeze_encoder: bool = field(default=False, metadata={"help": "train the head only"})
    freeze_batch_norm: bool = field(
        default=False,
        metadata={"help": "keep statistics, scales and shifts of batch norm (for batches of 1-4)"},
    )
    config_options: OptionValues = field(init=False, repr=False)
    """`model_config`, parsed."""

    def __post_init__(self) -> None:
        if self.init_from and (self.from_scratch or self.encoder_weights):
            raise UserError(
                "--init_from provides the weights: leave out --from_scratch and --encoder_weights"
            )
        self.config_options = key_values("--model_config", self.model_config)
