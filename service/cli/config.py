"""`customers config`: the settings as they are in effect, in the form of a `.env` file."""

from __future__ import annotations

from service.cli.output import print_data, print_json
from service.database_url import MASK
from service.settings import Settings, field_names, setting_name


def print_settings(settings: Settings, *, as_json: bool) -> None:
    """Secrets are shown as a mask."""
    shown = settings.shown()
    if as_json:
        print_json({**shown})
        return
    for field in field_names():
        name = setting_name(field)
        print_data(f"# {Settings.model_fields[field].description}")
        print_data(_line(name, shown[name]))


def _line(name: str, value: str | float | bool | None) -> str:
    """What is unset or masked must not be read back as a value."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name}={text}" if text and MASK not in text else f"# {name}={text}"
