"""The subcommands of `facelake`."""
