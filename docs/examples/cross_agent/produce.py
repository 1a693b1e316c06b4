"""Write readings into `feed:FEED`, numbered without a gap; the last item says how it ended.

Input: {"feed": "celsius", "readings": ["18.5", "19"]}
"""


def run(input_dict, tools):
    feed = data_store.use_namespace(f"feed:{input_dict['feed']}")
    number = 1
    try:
        for reading in input_dict["readings"]:
            feed.set(f"item:{number:06}", {"value": float(reading)})
            number += 1
        feed.set(f"item:{number:06}", {"end": True})
    except Exception as error:
        feed.set(f"item:{number:06}", {"error": f"produce: {type(error).__name__}: {error}"})
        raise
    return {"written": number - 1}
