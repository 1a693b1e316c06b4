"""Move an order to its next state, if it may go there.

Input: {"order": "7", "event": "pay"}
"""

MOVES = {
    ("new", "pay"): "paid",
    ("new", "cancel"): "cancelled",
    ("paid", "ship"): "shipped",
    ("paid", "cancel"): "refunded",
}


def run(input_dict, tools):
    event = input_dict["event"]

    def move(state):
        if (state, event) not in MOVES:
            raise ValueError(f"cannot {event} an order that is {state}")
        return MOVES[state, event]

    return data_store.use_namespace("orders").update(input_dict["order"], move, default="new")
