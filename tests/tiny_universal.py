"""EoMT and Mask2Former small enough for every test: options for `load_model`."""

EOMT = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_blocks": 2,
    "num_queries": 8, "image_size": 64, "train_num_points": 512,
}  # fmt: skip
EOMT_DINOV3 = {**EOMT, "intermediate_size": 64}
MASK2FORMER = {
    "backbone_config.embed_dim": 12, "backbone_config.depths": [1, 1, 2, 1],
    "backbone_config.drop_path_rate": 0.0, "feature_size": 64, "mask_feature_size": 32,
    "hidden_dim": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64,
    "num_attention_heads": 4, "encoder_layers": 1, "decoder_layers": 4, "num_queries": 8,
    "train_num_points": 512,
}  # fmt: skip

TINY = {
    "eomt-vit-small": EOMT,
    "eomt-dinov3-vits": EOMT_DINOV3,
    "mask2former-swin-tiny": MASK2FORMER,
}
