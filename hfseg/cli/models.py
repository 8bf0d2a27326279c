"""List all models (`hfseg models`) or some (`hfseg models NAME ...`).

The table gives parameters, multiply-accumulates at 512 x 512 (`torch.utils.flop_counter`, two
operations each), weights and their license. No weights are loaded.
"""

import logging

# each architecture of segmentation_models_pytorch, with common encoders
EXAMPLES = (
    "deeplabv3-resnet50", "deeplabv3-resnet101", "deeplabv3plus-resnet50",
    "deeplabv3plus-resnet101", "fcn-resnet50", "fcn-resnet101", "unet-resnet34",
    "unet-resnet50", "unet-efficientnet-b0", "unet-mit_b0", "unetplusplus-resnet34",
    "pspnet-resnet50", "fpn-resnet50", "linknet-resnet34", "manet-resnet34", "pan-resnet50",
    "segformer-resnet50", "dpt-tu-vit_base_patch16_224.augreg_in21k",
)  # fmt: skip


def main(names: list[str]) -> None:
    if {"-h", "--help"} & set(names):
        print(__doc__)
        return

    from hfseg.models.catalog import NAMED_MODELS, encoder_names, find_model, unknown_model
    from hfseg.models.configuration_smp import ARCHITECTURES
    from hfseg.models.cost import measure

    logging.disable(logging.WARNING)
    rows = []
    for name in names or [*NAMED_MODELS, *EXAMPLES]:
        named = find_model(name)
        if named is None:
            raise unknown_model(name)
        rows.append((name, named.weights or "none", named.license or "see its page"))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'name':{width}}  {'million':>8}  {'GMACs':>7}  weights of the encoder (license)")
    for name, weights, license in rows:
        cost = measure(name)
        terms = "" if weights == "none" else f" ({license})"
        print(
            f"{name:{width}}  {cost.parameters / 1e6:8.2f}  {cost.macs / 1e9:7.1f}  "
            f"{weights}{terms}",
            flush=True,
        )
    if not names:
        print(
            f"\nand <architecture>-<encoder>: {', '.join(ARCHITECTURES)}; "
            f"{len(encoder_names())} encoders of segmentation_models_pytorch, and any of timm's "
            "as tu-NAME"
        )
