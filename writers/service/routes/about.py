"""Who answers."""

from fastapi import APIRouter
from pydantic import BaseModel

from writers.service.routes.serving import Service

router = APIRouter(tags=["service"])


class About(BaseModel):
    """An instance of the service."""

    instance: str
    documentation: str = "/docs"


@router.get("/")
async def about(service: Service) -> About:
    """Say which instance answers."""
    return About(instance=service.settings.instance)
