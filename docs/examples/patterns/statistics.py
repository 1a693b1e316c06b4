"""Include a measurement in the statistics of its kind.

Input: {"kind": "latency", "value": 0.25}
"""


def run(input_dict, tools):
    value = input_dict["value"]

    def include(known):
        return {
            "count": known["count"] + 1,
            "sum": known["sum"] + value,
            "least": min(known["least"], value),
            "most": max(known["most"], value),
        }

    nothing = {"count": 0, "sum": 0, "least": value, "most": value}
    known = data_store.use_namespace("statistics").update(input_dict["kind"], include, default=nothing)
    return {**known, "mean": known["sum"] / known["count"]}
