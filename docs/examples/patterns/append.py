"""Append a line to a log that keeps its last thousand lines.

Input: {"log": "deploy", "line": "begun"}
"""

KEEP = 1000


def run(input_dict, tools):
    logs = data_store.use_namespace("logs")
    lines = logs.update(input_dict["log"], lambda lines: [*lines, input_dict["line"]][-KEEP:], default=[])
    return {"lines": len(lines)}
