"""Flower: where it listens, who may look at it, and how it is told without its password standing in a command line."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import Settings
from strongroom.errors import ConfigurationError
from workers.loopback import LOOPBACK, free_port, is_free, page_answers
from workers.private_files import write_private
from workers.service_state import FlowerState


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Flower as it will run. ``password_file`` is None when the password came from the settings."""

    listen: str
    port: int
    user: str
    password: str = field(repr=False)
    password_file: Path | None

    @property
    def address(self) -> str:
        """Where a browser on this host finds it."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def state(self) -> FlowerState:
        """What others may know of it: everything but the password."""
        return FlowerState(self.address, self.user, str(self.password_file) if self.password_file else None)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Flower's own arguments. ``--conf``: else it would run a flowerconfig.py of the working folder."""
        return (f"--address={self.listen}", f"--port={self.port}", "--conf=/dev/null")

    @property
    def environment(self) -> dict[str, str]:
        """What Flower reads from its environment, which only its own user can see."""
        return {"FLOWER_BASIC_AUTH": f"{self.user}:{self.password}"}

    def answers(self, timeout_s: float = 1.0) -> bool:
        """Tell whether Flower serves pages."""
        return page_answers(self.port, "/healthcheck", timeout_s)


def prepare_dashboard(settings: Settings, listen: str = LOOPBACK) -> Dashboard:
    """Choose the port and the password; one that had to be made is kept in the run folder, readable by its owner only.

    ``listen`` is loopback but in a container: ``/metrics`` answers without the password.

    Raises:
        ConfigurationError: the port is taken, or user or password hold what Flower takes for a separator.
    """
    if settings.flower_port and not is_free(settings.flower_port):
        raise ConfigurationError(
            f"Port {settings.flower_port} is taken.", "Set STRONGROOM_FLOWER_PORT to another one, or to 0 for any that is free."
        )
    password, file = _credentials(settings)
    if "," in settings.flower_user + password or ":" in settings.flower_user:
        raise ConfigurationError("Flower's user and password hold no comma, the user no colon: Flower splits them there.")
    return Dashboard(listen, settings.flower_port or free_port(), settings.flower_user, password, file)


def _credentials(settings: Settings) -> tuple[str, Path | None]:
    if settings.flower_password is not None:
        return settings.flower_password.get_secret_value(), None
    file = settings.data_dir / "run" / "flower-password"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(18) + "\n")
    return file.read_text("utf-8").strip(), file
