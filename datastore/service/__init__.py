"""What happens between a door and an engine: the guards in order, and who watches."""
