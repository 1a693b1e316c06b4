"""Read a ticket and hand it to the desk that can deal with it.

Input: {"ticket": "T-1", "text": "Please refund order 12"}
"""


def run(input_dict, tools):
    tickets, name = data_store.use_namespace("tickets"), input_dict["ticket"]
    ticket = {"text": input_dict["text"], "notes": {}}
    try:
        ticket["at"] = "refunds" if "refund" in ticket["text"].lower() else "questions"
        return {"at": ticket["at"], "new": tickets.add(name, ticket)}
    except Exception as error:
        tickets.add(name, {**ticket, "at": "failed", "error": f"triage: {type(error).__name__}: {error}"})
        raise
