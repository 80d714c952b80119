"""The simulator: clusters in one OS process, in virtual time, the same for the same seed."""
