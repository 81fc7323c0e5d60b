"""The provider's own settings: its inputs, or environment variables where an input is absent."""

from __future__ import annotations

import os

from lab.plugins.values import Properties

VARIABLES = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}

UNSUPPORTED = ("renderYamlToDirectory", "alwaysRender", "helmReleaseSettings")


class Settings:
    def __init__(self, inputs: Properties) -> None:
        self.inputs = inputs

    def enabled(self, name: str, *, default: bool = False) -> bool:
        """A switch; the input wins over the variable, which also reaches a `destroy`."""
        given = self.inputs.get(name)
        if given is None:
            given = os.environ.get(VARIABLES[name])
        return default if given is None else given in (True, "true", "True", "1")

    def text(self, name: str) -> str | None:
        value: str | None = self.inputs.get(name)
        return value

    def mutable(self) -> set[str]:
        """The kinds that are updated in place although their defaults are to be replaced."""
        switches = {"ConfigMap": "enableConfigMapMutable", "Secret": "enableSecretMutable"}
        return {kind for kind, switch in switches.items() if self.enabled(switch)}

    def refused(self) -> list[tuple[str, str]]:
        """What the real plugin knows and this one does not."""
        where = "is not supported by the stand-in of this machine (lab/plugins)"
        failures = [(name, f"{name} {where}") for name in UNSUPPORTED if self.inputs.get(name)]
        if not self.enabled("enableServerSideApply", default=True):
            failures.append(("enableServerSideApply", f"client-side apply {where}"))
        return failures
