"""List all models (`hfseg models`) or some (`hfseg models NAME ...`).

The table gives parameters, multiply-accumulates at 512 x 512 (`torch.utils.flop_counter`, two
operations each), weights and their license. No weights are loaded.
"""


def main(names: list[str]) -> None:
    if {"-h", "--help"} & set(names):
        print(__doc__)
        return

    from hfseg.models.catalog import encoder_names, find_model, unknown_model
    from hfseg.models.configuration_smp import ARCHITECTURES
    from hfseg.models.listing import LISTED, cost_of

    rows = []
    for name in names or LISTED:
        named = find_model(name)
        if named is None:
            raise unknown_model(name)
        rows.append((name, named.weights or "none", named.license or "see its page"))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'name':{width}}  {'million':>8}  {'GMACs':>7}  weights of the encoder (license)")
    for name, weights, license in rows:
        cost = cost_of(name)
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
