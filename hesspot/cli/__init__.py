"""The command line: one file for each subcommand, heavy imports inside the commands."""
