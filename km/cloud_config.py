"""mesos-cloud.conf, the file of the seed's Mesos cloud provider: INI with one section.

[mesos-cloud]
mesos-master        = zk://10.0.0.11:2181/mesos
http-client-timeout = 10s
state-cache-ttl     = 5s
"""

from __future__ import annotations

import difflib
from pathlib import Path

SECTION = "mesos-cloud"

KEYS = {
    "mesos-master": "mesos_master",
    "http-client-timeout": "http_client_timeout",
    "state-cache-ttl": "state_cache_ttl",
    "framework-name": "framework_name",
    "framework-roles": "framework_roles",
    "mesos-user": "mesos_user",
    "mesos-authentication-principal": "mesos_authentication_principal",
    "mesos-authentication-secret-file": "mesos_authentication_secret_file",
}
"""Key in the file to field of Settings. The first three are the seed's."""


class SettingsError(ValueError):
    """A mistake of whoever wrote the flags or the file: one line, no stack trace."""


def read_cloud_config(path: Path) -> dict[str, tuple[str, str]]:
    """Read the file.

    Returns:
        Field of Settings to (its text, where it stands: `file:line: key`).

    Raises:
        SettingsError: the file cannot be read, or a line in it is not understood.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SettingsError(f"--cloud-config: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"--cloud-config: {path}: is not text: {error}") from error
    found: dict[str, tuple[str, str]] = {}
    section: str | None = None
    for number, raw in enumerate(lines, 1):
        where = f"{path}:{number}"
        line = without_comment(raw).strip()
        if not line:
            continue
        if line.startswith("["):
            section = read_section(line, where)
            continue
        if section is None:
            raise SettingsError(f"{where}: {line!r} stands before [{SECTION}]")
        key, value = read_pair(line, where)
        if KEYS[key] in found:
            raise SettingsError(f"{where}: {key} is given twice, first at {found[KEYS[key]][1]}")
        found[KEYS[key]] = (value, f"{where}: {key}")
    return found


def read_section(line: str, where: str) -> str:
    name = line[1:-1].strip() if line.endswith("]") else None
    if name is None or name.lower() != SECTION:
        raise SettingsError(f"{where}: {line!r} is not understood; allowed: [{SECTION}]")
    return SECTION


def read_pair(line: str, where: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    key, value = key.strip().lower(), value.strip()
    if key not in KEYS:
        close = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(KEYS)}"
        raise SettingsError(f"{where}: unknown key {key!r}; {hint}")
    if not equals:
        raise SettingsError(f"{where}: {key} has no value; write {key} = VALUE")
    if value[:1] == '"':
        if len(value) < 2 or value[-1] != '"':
            raise SettingsError(f"{where}: {key}: {value} has no closing quote")
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not value:
        raise SettingsError(f"{where}: {key} is empty")
    return key, value


def without_comment(line: str) -> str:
    """Cut at `;` or `#` outside quotes, as gcfg does."""
    quoted = False
    for index, character in enumerate(line):
        if character == '"' and line[index - 1 : index] != "\\":
            quoted = not quoted
        elif character in ";#" and not quoted:
            return line[:index]
    return line
