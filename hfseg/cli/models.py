"""List all models (`hfseg models`) or some (`hfseg models NAME ...`).

The table gives parameters, multiply-accumulates at 512 x 512 (`torch.utils.flop_counter`, two
operations each), weights and their license. No weights are loaded.
"""


def main(names: list[str]) -> None:
    if {"-h", "--help"} & set(names):
        print(__doc__)
        return

    from hfseg.cards.licenses import known_license
    from hfseg.models.catalog import encoder_names, find_model, unknown_model
    from hfseg.models.configuration_smp import ARCHITECTURES
    from hfseg.models.listing import LISTED, cost_of
    from hfseg.models.origin import weights_repository

    rows = []
    for name in names or LISTED:
        named = find_model(name)
        if named is None:
            raise unknown_model(name)
        weights = weights_repository(name)
        known = known_license(weights) if weights else None
        license = known.name if known else named.license or "unknown"
        rows.append((name, weights or "none", license))
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
    if any(weights != "none" and license in ("other", "unknown") for _, weights, license in rows):
        print("\nFor `other` and `unknown`, see the page of the weights: huggingface.co/NAME")
    if not names:
        print(
            f"\nand <architecture>-<encoder>: {', '.join(ARCHITECTURES)}; "
            f"{len(encoder_names())} encoders of segmentation_models_pytorch, and any of timm's "
            "as tu-NAME"
        )
