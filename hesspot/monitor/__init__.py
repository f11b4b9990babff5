"""A production run under watch: its frames against the trained model, while they are written or afterwards."""
