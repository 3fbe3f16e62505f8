"""Validates the API's description and each example in it against its schema.

usage: examples.py OPENAPI.JSON
Prints one line per fault and exits with 1 if there are any.
"""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate


def walk(node, path=()):
    """Yields every object of the document with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            # The content of examples is data, not description.
            if key not in ("example", "examples", "enum", "const", "default"):
                yield from walk(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, (*path, str(index)))


def examples_of(node):
    """Yields the examples of a node. Those of media types and parameters are named objects, those of schemas are
    lists."""
    if "example" in node:
        yield node["example"]
    more = node.get("examples", [])
    yield from more if isinstance(more, list) else (each["value"] for each in more.values())


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    validate(document)
    seen, faults = 0, []
    for path, node in walk(document):
        # A property may be named `example`; its schema is not an example.
        if path and path[-1] == "properties":
            continue
        # Media types and parameters have a `schema` beside the example; other nodes are schemas themselves.
        schema = node.get("schema", node)
        whole = {**schema, "components": document["components"]}
        for example in examples_of(node):
            seen += 1
            for error in Draft202012Validator(whole).iter_errors(example):
                faults.append(f"{'/'.join(path)}: {error.json_path}: {error.message}")
    print(*faults, sep="\n")
    print(f"{seen} examples, {len(faults)} faults")
    # Too few examples mean that the search is broken.
    sys.exit(1 if faults or seen < 50 else 0)


main()
