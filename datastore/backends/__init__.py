"""The engines: packages that implement `ports.Engine` and never import each other."""
