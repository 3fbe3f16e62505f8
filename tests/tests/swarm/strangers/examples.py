"""Checks the API's description: that it is one, and that each example in it is an instance of its schema.

usage: examples.py OPENAPI.JSON
Prints one line for each fault and ends with 1 when there are any.
"""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate


def walk(node, path=()):
    """Every object of the document with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            # What is inside of an example is data, not description.
            if key not in ("example", "examples", "enum", "const", "default"):
                yield from walk(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, (*path, str(index)))


def examples_of(node):
    """The examples beside a schema or in it. Those of media types and parameters are named objects,
    those of schemas are in a list."""
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
        # A field of an object may be called `example`: its schema is no example.
        if path and path[-1] == "properties":
            continue
        # Media types and parameters have their schema beside the example, schemas are it themselves.
        schema = node.get("schema", node)
        whole = {**schema, "components": document["components"]}
        for example in examples_of(node):
            seen += 1
            for error in Draft202012Validator(whole).iter_errors(example):
                faults.append(f"{'/'.join(path)}: {error.json_path}: {error.message}")
    print(*faults, sep="\n")
    print(f"{seen} examples, {len(faults)} faults")
    # Not one found would mean that they were looked for in the wrong places.
    sys.exit(1 if faults or seen < 50 else 0)


main()
