"""Return a report from the cache, or make it once and keep it for an hour.

Input: {"city": "Oslo"}
"""

ABSENT = object()


def run(input_dict, tools):
    cache = data_store.use_namespace("cache:reports")
    city = input_dict["city"]
    report = cache.get(city, ABSENT)
    if report is ABSENT:
        with cache.lock(city, wait_seconds=60):
            report = cache.get(city, ABSENT)  # Another run may have made it while this one waited.
            if report is ABSENT:
                report = make(city)
                cache.set(city, report, ttl_seconds=3600)
    return report


def make(city):
    print("making the report of", city)  # In place of something slow, such as a tool.
    return f"All is well in {city}."
