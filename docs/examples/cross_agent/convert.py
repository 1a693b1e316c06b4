"""Turn each item of one feed from Celsius into Fahrenheit: an item of the same number in another feed.

Input: {"from": "celsius", "to": "fahrenheit"}
"""


def run(input_dict, tools):
    source = data_store.use_namespace(f"feed:{input_dict['from']}")
    target = data_store.use_namespace(f"feed:{input_dict['to']}")
    number = 1
    try:
        while "value" in (item := source.wait_for(f"item:{number:06}", timeout_seconds=20)):
            target.set(f"item:{number:06}", {"value": item["value"] * 1.8 + 32})
            number += 1
        target.set(f"item:{number:06}", item)  # The end, or the producer's error: who waits here needs it too.
    except Exception as error:
        target.set(f"item:{number:06}", {"error": f"convert: {type(error).__name__}: {error}"})
        raise
    return {"converted": number - 1}
