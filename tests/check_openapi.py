#!/usr/bin/env python3
"""Compares openapi.yaml with the route table in api/routes.c, in both directions, and checks that
the document holds together. Usage: check_openapi.py [DIRECTORY]   (python3 and python3-yaml)

- the same paths, methods and operation ids; body and answer media types; query parameters with
  their ranges and defaults
- every $ref resolves, every component is used
- every operation has error answers as problem+json, and the ones that its kind can give
- every path parameter is declared, every named example fits its schema (types, required members,
  unknown members, enumerations, ranges, patterns)
"""
import pathlib
import re
import sys

import yaml

METHODS = ("get", "put", "post", "delete", "patch")
ROUTE = re.compile(
    r'\{"(?P<method>[A-Z]+)", "(?P<path>[^"]+)", "(?P<id>\w+)", (?P<handler>\w+), \w+,\s*'
    r"(?P<body>\w+),\s*(?P<produces>\w+),\s*(?P<query>\w+)\}")

faults = []


def fault(text):
    faults.append(text)


def read_routes(text):
    """The table's rows with its media type and query arrays resolved."""
    arrays = {name: re.findall(r'"([^"]+)"', body) for name, body in re.findall(
        r"static const char \*const (\w+)\[\] = \{(.*?)\};", text, re.S)}
    queries = {}
    for name, body in re.findall(r"static const struct route_query (\w+)\[\] = \{(.*?)\n\};", text, re.S):
        queries[name] = {}
        for parameter, kind, rest in re.findall(r'\{"(\w+)", (\w+)([^}]*)\}', body):
            values = dict(re.findall(r"\.(\w+) = (\w+)", rest))
            values["words"] = arrays.get(values.get("choices"))
            queries[name][parameter] = (kind, values)
    bodies = dict(re.findall(r"#define (\w+_BODY)\s+\w+, \w+, (\w+)", text))
    routes = []
    for match in ROUTE.finditer(text):
        row = match.groupdict()
        body = bodies[row["body"]]
        row["consumes"] = [] if body == "NULL" else arrays[body]
        row["produces"] = [] if row["produces"] == "NULL" else arrays[row["produces"]]
        row["query"] = {} if row["query"] == "NULL" else queries[row["query"]]
        routes.append(row)
    if len(routes) != len(re.findall(r'^    \{"[A-Z]+",', text, re.M)):
        fault("routes.c: a row of the table is not in the form that this script reads")
    return routes


def resolve(document, node):
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def check_refs(document):
    used = set()

    def walk(node, where):
        if isinstance(node, dict):
            if "$ref" in node:
                used.add(node["$ref"])
                try:
                    resolve(document, node)
                except (KeyError, TypeError):
                    fault(f"{where}: {node['$ref']} does not resolve")
            for key, value in node.items():
                walk(value, f"{where}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{where}/{index}")

    walk(document, "#")
    for kind, components in document["components"].items():
        for name in components:
            if kind != "securitySchemes" and f"#/components/{kind}/{name}" not in used:
                fault(f"components/{kind}/{name} is not used")


def check_query(where, parameters, wanted):
    declared = {p["name"]: p for p in parameters if p["in"] == "query"}
    for name in declared.keys() ^ wanted.keys():
        fault(f"{where}: query parameter {name} is in only one of openapi.yaml and routes.c")
    for name in declared.keys() & wanted.keys():
        kind, values = wanted[name]
        schema = declared[name].get("schema", {})
        if declared[name].get("required", False) != (values.get("required") == "true"):
            fault(f"{where}: {name}: `required` differs")
        if kind == "ROUTE_QUERY_UINT":
            names = {"min": "minimum", "max": "maximum"}
            if values.get("standard", "0") != "0":
                names["standard"] = "default"
            for key, key_yaml in names.items():
                if schema.get(key_yaml) != int(values[key]):
                    fault(f"{where}: {name}: {key_yaml} is {schema.get(key_yaml)}, in routes.c {values[key]}")
        elif kind == "ROUTE_QUERY_CHOICE":
            if schema.get("enum") != values["words"] or schema.get("default") != values["words"][0]:
                fault(f"{where}: {name}: the words are {schema.get('enum')}, in routes.c {values['words']}")
        elif kind == "ROUTE_QUERY_TEXT" and "maxLength" in schema:
            if schema["maxLength"] != int(values["max"]):
                fault(f"{where}: {name}: maxLength is {schema['maxLength']}, in routes.c {values['max']}")


def media_of(responses):
    found = []
    for status, response in responses.items():
        if status.startswith("2"):
            found += [m for m in response.get("content", {}) if m not in found]
    return found


def check_operation(document, route, path_item, operation):
    where = f"{route['method']} {route['path']}"
    if operation.get("operationId") != route["id"]:
        fault(f"{where}: operationId {operation.get('operationId')}, in routes.c {route['id']}")
    parameters = [resolve(document, p) for p in
                  path_item.get("parameters", []) + operation.get("parameters", [])]
    in_path = {p["name"] for p in parameters if p["in"] == "path"}
    if in_path != set(re.findall(r"\{(\w+)\}", route["path"])):
        fault(f"{where}: path parameters {sorted(in_path)}")
    check_query(where, parameters, route["query"])
    consumes = sorted(operation.get("requestBody", {}).get("content", {}))
    if consumes != sorted(route["consumes"]):
        fault(f"{where}: request media types {consumes}, in routes.c {route['consumes']}")
    responses = {s: resolve(document, r) for s, r in operation.get("responses", {}).items()}
    if sorted(media_of(responses)) != sorted(route["produces"]):
        fault(f"{where}: answer media types {media_of(responses)}, in routes.c {route['produces']}")
    if not any(status.startswith("2") for status in responses):
        fault(f"{where}: no success answer")
    wanted = {"400", "422", "503"}
    if route["consumes"]:
        wanted |= {"413", "415"}
    if route["produces"]:
        wanted.add("406")
    if re.search(r"\{\w+\}", route["path"]):
        wanted.add("404")
    for status in sorted(wanted - responses.keys()):
        fault(f"{where}: no answer {status}")
    for status, response in responses.items():
        if status[0] in "45" and list(response.get("content", {})) != ["application/problem+json"]:
            fault(f"{where}: answer {status} is not problem+json")
    for key in ("tags", "summary"):
        if key not in operation:
            fault(f"{where}: no {key}")


# ---- examples against schemas: the part of JSON Schema that the document uses ----

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def has_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def mismatch(document, schema, value, where):
    """The first reason why a value does not fit, or None."""
    schema = resolve(document, schema)
    for part in schema.get("allOf", []):
        reason = mismatch(document, part, value, where)
        if reason:
            return reason
    if "oneOf" in schema and sum(
            mismatch(document, part, value, where) is None for part in schema["oneOf"]) != 1:
        return f"{where}: fits not exactly one of oneOf"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(has_type(value, name) for name in types):
        return f"{where}: is no {' or '.join(types)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where}: {value!r} is not in the enumeration"
    if "const" in schema and value != schema["const"]:
        return f"{where}: {value!r} is not {schema['const']!r}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{where}: {value!r} does not match {schema['pattern']}"
    if has_type(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            return f"{where}: {value} is out of range"
    if isinstance(value, list):
        for index, item in enumerate(value):
            reason = mismatch(document, schema.get("items", {}), item, f"{where}/{index}")
            if reason:
                return reason
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                return f"{where}: {name} is missing"
        for name, member in value.items():
            inner = properties.get(name, schema.get("additionalProperties", {}))
            if inner is False:
                return f"{where}: {name} is not a known member"
            if isinstance(inner, dict):
                reason = mismatch(document, inner, member, f"{where}/{name}")
                if reason:
                    return reason
    return None


def check_examples(document, node, where):
    if isinstance(node, dict):
        if "schema" in node and "examples" in node:
            for name, example in node["examples"].items():
                value = resolve(document, example)["value"]
                reason = mismatch(document, node["schema"], value, f"{where}: example {name}")
                if reason:
                    fault(reason)
        for key, value in node.items():
            if key not in ("schemas", "examples"):
                check_examples(document, value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_examples(document, value, f"{where}/{index}")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    document = yaml.safe_load((root / "openapi.yaml").read_text())
    routes = read_routes((root / "api/routes.c").read_text())
    if document.get("openapi") != "3.1.0":
        fault("openapi is not 3.1.0")
    check_refs(document)
    declared = {(method.upper(), path) for path, item in document["paths"].items()
                for method in METHODS if method in item}
    table = {(route["method"], route["path"]) for route in routes}
    for method, path in sorted(declared - table):
        fault(f"{method} {path} is in openapi.yaml only")
    for method, path in sorted(table - declared):
        fault(f"{method} {path} is in routes.c only")
    ids = [route["id"] for route in routes]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        fault(f"operation id {name} is not unique")
    for route in routes:
        if (route["method"], route["path"]) in declared:
            item = document["paths"][route["path"]]
            check_operation(document, route, item, item[route["method"].lower()])
    check_examples(document, document, "#")
    for text in faults:
        print(text)
    print(f"openapi: {len(routes)} operations, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
