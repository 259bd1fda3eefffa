"""The server: OpenAI's HTTP interface in front of one or more models."""

from jielong.server.app import build_app
from jielong.server.run import serve
from jielong.server.served_model import ServedModel
from jielong.server.settings import ServerSettings

__all__ = ["ServedModel", "ServerSettings", "build_app", "serve"]
