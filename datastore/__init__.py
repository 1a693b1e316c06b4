"""The store: rules and engines. It knows neither the sandbox nor the operators' tools."""
