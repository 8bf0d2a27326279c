"""What the Hub wants of the metadata of a card; the loopback Hub refuses what breaks a rule.

Rules from the Hub's documentation: the specification of model cards (hub-docs, modelcard.md), the
list of licenses (repositories-licenses) and the reference of Spaces (spaces-config-reference).
"""

import re
from typing import Any

import yaml

_LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
    c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
    ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1
    lgpl-3.0 isc lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql
    ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 gemma unknown
    other
"""
LICENSES = set(_LICENSES.split())
TASKS = {"image-segmentation", "image-classification", "object-detection", "mask-generation"}
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def card_errors(content: str, repo_type: str) -> list[str]:
    """What is wrong with the metadata at the top of a README.md, a sentence each."""
    match = re.match(r"---[ ]*\r?\n(.*?)\r?\n---[ ]*(\r?\n|$)", content, flags=re.DOTALL)
    if match is None:
        return []  # a card without metadata is allowed
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"the metadata is no YAML: {error}"]
    if data is None:
        return []
    if not isinstance(data, dict):
        return ["the metadata must be a mapping"]
    errors = [f'"{key}" must not be empty' for key, value in data.items() if value is None]
    data = {key: value for key, value in data.items() if value is not None}
    errors += _common(data)
    return errors + {"model": _model, "space": _space, "dataset": lambda _: []}[repo_type](data)


def _common(data: dict[str, Any]) -> list[str]:
    errors = []
    for license in _list(data.get("license")):
        if license not in LICENSES:
            errors.append(f'"license" {license!r} is not in the list')
    if "license_name" in data and not re.fullmatch(r"[a-z0-9.-]+", str(data["license_name"])):
        errors.append('"license_name" must be an identifier, lower case')
    link = str(data.get("license_link", "LICENSE"))
    if link not in ("LICENSE", "LICENSE.md") and not re.match(r"https?://\S+$", link):
        errors.append('"license_link" must be LICENSE, LICENSE.md or an address')
    for key in ("tags", "metrics"):
        value = data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            errors.append(f'"{key}" must be a list of strings')
    for key in ("datasets", "base_model", "models"):
        for each in _list(data.get(key)):
            if not isinstance(each, str) or not _ID.fullmatch(each):
                errors.append(f'"{key}" with value {each!r} is not valid: use an id of the Hub')
    return errors


def _model(data: dict[str, Any]) -> list[str]:
    errors = []
    if data.get("pipeline_tag", "image-segmentation") not in TASKS:
        errors.append('"pipeline_tag" is no task of the Hub')
    for key in ("library_name", "pipeline_tag"):
        if not isinstance(data.get(key, ""), str):
            errors.append(f'"{key}" must be a string')
    index = data.get("model-index", [])
    if not isinstance(index, list):
        return [*errors, '"model-index" must be a list']
    for model in index:
        if not isinstance(model.get("name"), str):
            errors.append('"model-index[0].name" is required')
        if not isinstance(model.get("results"), list):
            errors.append('"model-index[0].results" must be a list')
            continue
        for number, result in enumerate(model["results"]):
            errors += [f"model-index[0].results[{number}]: {each}" for each in _result(result)]
    return errors


def _result(result: dict[str, Any]) -> list[str]:
    required = {"task": ("type",), "dataset": ("type", "name")}
    errors = [
        f'"{part}.{key}" is required'
        for part, keys in required.items()
        for key in keys
        if not isinstance(result.get(part, {}).get(key), str)
    ]
    if result.get("task", {}).get("type") not in TASKS:
        errors.append('"task.type" is no task of the Hub')
    if not result.get("metrics"):
        errors.append('"metrics" is required')
    for metric in result.get("metrics", []):
        if not isinstance(metric.get("type"), str):
            errors.append('"metrics.type" is required')
        value = metric.get("value")
        if not isinstance(value, (int, float, str)) or value != value:
            errors.append('"metrics.value" must be a number')
    return errors


def _space(data: dict[str, Any]) -> list[str]:
    errors = []
    if data.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
        errors.append('"sdk" must be gradio, streamlit, docker or static')
    for key in ("colorFrom", "colorTo"):
        if data.get(key, "red") not in COLORS:
            errors.append(f'"{key}" must be one of {", ".join(sorted(COLORS))}')
    if not isinstance(data.get("pinned", False), bool):
        errors.append('"pinned" must be a boolean')
    if len(str(data.get("short_description", ""))) > 60:
        errors.append('"short_description" must have at most 60 characters')
    for key in ("sdk_version", "python_version"):
        if not re.fullmatch(r"\d+(\.\d+)*", str(data.get(key, "1"))):
            errors.append(f'"{key}" must be a version')
    return errors


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
