"""Pay an amount into an account once, however often the request comes within a day.

Input: {"request": "r-1", "account": "ann", "amount": 5}
"""

DAY_SECONDS = 24 * 3600


def run(input_dict, tools):
    accounts = data_store.use_namespace("accounts")
    account, amount = input_dict["account"], input_dict["amount"]
    try:
        with accounts.atomic() as changes:
            changes.add(f"request:{input_dict['request']}", amount, ttl_seconds=DAY_SECONDS)
            changes.incr(f"balance:{account}", amount)
    except data_store.Conflict:
        return "paid before"
    return "paid"
