#!/usr/bin/env python3
"""The JSON schemas that kubeconform reads, of Kubernetes' OpenAPI document. Arguments: swagger.json and the folder to write to.

Strict: a field that the API does not know is an error, as it is to the API server.
"""
import json
import os
import sys

source, folder = sys.argv[1:]
with open(source) as f:
    definitions = json.load(f)["definitions"]


def convert(node):
    if isinstance(node, list):
        return [convert(n) for n in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        if key == "description" and isinstance(value, str) or key.startswith("x-kubernetes"):
            continue
        if key == "$ref":
            value = "_definitions.json" + value
        elif key in ("properties", "definitions"):
            value = {k: convert(v) for k, v in value.items()}
        else:
            value = convert(value)
        out[key] = value
    if "properties" in out:
        out["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string") or node.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    return out


converted = {name: convert(d) for name, d in definitions.items()}
# A quantity may be written as a number.
converted["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
with open(os.path.join(folder, "_definitions.json"), "w") as f:
    json.dump({"definitions": converted}, f)
for name, definition in definitions.items():
    for gvk in definition.get("x-kubernetes-group-version-kind", []):
        if len(definition["x-kubernetes-group-version-kind"]) > 1:
            continue    # the options of calls, which are of every group
        group = gvk["group"].split(".")[0]
        file = "-".join(filter(None, [gvk["kind"].lower(), group, gvk["version"].lower()])) + ".json"
        with open(os.path.join(folder, file), "w") as f:
            json.dump({**converted[name], "properties": {
                **converted[name]["properties"],
                "apiVersion": {"const": "/".join(filter(None, [gvk["group"], gvk["version"]]))},
                "kind": {"const": gvk["kind"]}}}, f)
