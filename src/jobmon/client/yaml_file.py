"""Resources and scales from YAML files.

::

    tool_resources:                 # and tool_scales
      <cluster>: {memory: 4G, ...}
    workflow_resources:             # and workflow_scales; a workflow reads tool_resources where there are none
      <cluster>: {memory: 4G, ...}
    task_template_resources:        # and task_template_scales
      <template>:
        <cluster>: {memory: 4G, ...}
"""

from __future__ import annotations

from typing import Any


def read_yaml(path: str) -> dict[str, Any]:
    """Content of a YAML file that holds a mapping.

    Raises:
        ValueError: the file cannot be read, or it holds something else.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"The file {path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"The file {path} must hold 'key: value' lines.")
    return content


def first_key(path: str, *keys: str) -> str:
    """The first of these keys that a YAML file has.

    Raises:
        KeyError: it has none of them.
        ValueError: the file cannot be read.
    """
    content = read_yaml(path)
    for key in keys:
        if key in content:
            return key
    raise KeyError(f"The file {path} has no {' and no '.join(repr(key) for key in keys)}.")


def find_section(content: dict[str, Any], path: str, *keys: str) -> dict[str, dict[str, Any]]:
    """The mapping cluster -> resources found by going through ``keys``.

    Raises:
        KeyError: one of the keys is missing.
        ValueError: what is there has another shape.
    """
    section: Any = content
    for depth, key in enumerate(keys):
        if not isinstance(section, dict) or key not in section:
            raise KeyError(f"The file {path} has no '{'.'.join(keys[: depth + 1])}'.")
        section = section[key]
    if not isinstance(section, dict) or not all(isinstance(values, dict) for values in section.values()):
        raise ValueError(f"In the file {path}, '{'.'.join(keys)}' must map clusters to 'name: value' lines.")
    return section
