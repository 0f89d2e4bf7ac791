"""How the API describes itself at ``/schema``."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import License, Tag

from rag import __version__


def _no_page(response: Response[Any]) -> Response[Any]:
    """Litestar answers unknown paths below its schema with a page of HTML; ours are problem details."""
    if response.status_code == 404:
        raise NotFoundException
    return response


def openapi_config() -> OpenAPIConfig:
    """JSON at ``/schema`` and YAML beside it. No browsable page: those load scripts from the network."""
    return OpenAPIConfig(
        title="Plumbline",
        version=__version__,
        description="Answers from your own documents, every sentence tied to a passage you can open.",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        tags=[
            Tag(name="Questions", description="Answers and passages."),
            Tag(name="Documents", description="What is searched."),
            Tag(name="State", description="Liveness, readiness and figures."),
        ],
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, after_request=_no_page),
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"]), YamlRenderPlugin()],
    )
