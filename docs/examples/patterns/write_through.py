"""Write a profile, and the card that readers see of it, in one step.

Input: {"user": "ann", "profile": {"name": "Ann", "city": "Oslo"}}
"""


def run(input_dict, tools):
    user, profile = input_dict["user"], input_dict["profile"]
    with data_store.atomic() as changes:
        changes.use_namespace("profiles").set(user, profile)
        changes.use_namespace("cache:cards").set(user, card(profile))
    return card(profile)


def card(profile):
    return f"{profile['name']} ({profile['city']})"
