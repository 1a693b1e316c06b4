"""The operators' door: what people who run the store do with it, and the command that they type."""
