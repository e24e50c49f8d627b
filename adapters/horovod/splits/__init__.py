"""The ways of splitting training: a folder for each engine, and a file for each way."""
