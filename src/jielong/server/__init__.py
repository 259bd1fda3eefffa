"""The server: OpenAI's HTTP interface in front of one or more models."""
