"""BibTeX of the architectures whose papers we know, found by name."""

import re

# Looked for in text normalised by `_normalised`. One model may match several:
# deeplabv3plus-mobilenet-v2 is both.
_PATTERNS = {
    r"segformer": """\
@inproceedings{xie2021segformer,
  title     = {{SegFormer}: Simple and Efficient Design for Semantic Segmentation with
               Transformers},
  author    = {Xie, Enze and Wang, Wenhai and Yu, Zhiding and Anandkumar, Anima and
               Alvarez, Jose M. and Luo, Ping},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021}
}""",
    r"deeplabv3plus": """\
@inproceedings{chen2018encoder,
  title     = {Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation},
  author    = {Chen, Liang-Chieh and Zhu, Yukun and Papandreou, George and Schroff, Florian and
               Adam, Hartwig},
  booktitle = {European Conference on Computer Vision},
  year      = {2018}
}""",
    r"deeplabv3(?!plus)": """\
@article{chen2017rethinking,
  title   = {Rethinking Atrous Convolution for Semantic Image Segmentation},
  author  = {Chen, Liang-Chieh and Papandreou, George and Schroff, Florian and Adam, Hartwig},
  journal = {arXiv preprint arXiv:1706.05587},
  year    = {2017}
}""",
    r"mobilenetv2": """\
@inproceedings{sandler2018mobilenetv2,
  title     = {{MobileNetV2}: Inverted Residuals and Linear Bottlenecks},
  author    = {Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and
               Chen, Liang-Chieh},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2018}
}""",
    r"\bunet(?!plusplus)": """\
@inproceedings{ronneberger2015unet,
  title     = {{U-Net}: Convolutional Networks for Biomedical Image Segmentation},
  author    = {Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas},
  booktitle = {Medical Image Computing and Computer-Assisted Intervention},
  year      = {2015}
}""",
    r"\bpspnet": """\
@inproceedings{zhao2017pyramid,
  title     = {Pyramid Scene Parsing Network},
  author    = {Zhao, Hengshuang and Shi, Jianping and Qi, Xiaojuan and Wang, Xiaogang and
               Jia, Jiaya},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2017}
}""",
    r"\bfcn": """\
@inproceedings{long2015fully,
  title     = {Fully Convolutional Networks for Semantic Segmentation},
  author    = {Long, Jonathan and Shelhamer, Evan and Darrell, Trevor},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2015}
}""",
    r"\bmask2former": """\
@inproceedings{cheng2022masked,
  title     = {Masked-attention Mask Transformer for Universal Image Segmentation},
  author    = {Cheng, Bowen and Misra, Ishan and Schwing, Alexander G. and Kirillov, Alexander and
               Girdhar, Rohit},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2022}
}""",
    r"\beomt": """\
@inproceedings{kerssies2025eomt,
  title     = {Your {ViT} is Secretly an Image Segmentation Model},
  author    = {Kerssies, Tommie and Cavagnero, Niccol{\\`o} and Hermans, Alexander and
               Norouzi, Narges and Averta, Giuseppe and Leibe, Bastian and Dubbelman, Gijs and
               de Geus, Daan},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}""",
    r"\bupernet": """\
@inproceedings{xiao2018unified,
  title     = {Unified Perceptual Parsing for Scene Understanding},
  author    = {Xiao, Tete and Liu, Yingcheng and Zhou, Bolei and Jiang, Yuning and Sun, Jian},
  booktitle = {European Conference on Computer Vision},
  year      = {2018}
}""",
}


def citations(*texts: str) -> list[str]:
    """BibTeX entries of the architectures named in `texts` (model type, architecture, recipe).

    Returns:
        The entries in a fixed order; empty where no known architecture is named.
    """
    named = _normalised(" ".join(texts))
    return [entry for pattern, entry in _PATTERNS.items() if re.search(pattern, named)]


def _normalised(text: str) -> str:
    """Lower case with `++`/`+` spelled out and "U-Net", "mobilenet_v2" etc. in one word."""
    text = text.lower().replace("+", "plus").replace("_", "-")
    return re.sub(r"\b(deeplab|mobilenet|u|psp|uper)[- ](?=v\d|net)", r"\1", text)
