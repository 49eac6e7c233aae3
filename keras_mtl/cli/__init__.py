"""The command `keras-mtl`: one file per subcommand."""
