"""One package a framework; an ``adapters`` folder elsewhere on the path may hold more."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
