"""What each installed executable runs, with the arguments NAME [flags] ADDRESS."""

from __future__ import annotations

import asyncio
import sys

from lab.plugins.protocol import skip_the_sdk, skip_the_search


def main() -> None:
    name, *arguments = sys.argv[1:]
    positional = [argument for argument in arguments if not argument.startswith("-")]
    if not positional and name != "language-python":
        sys.exit(f"pulumi-resource-{name}: Pulumi's engine starts this program, with its address")
    address = positional[-1] if positional else ""
    skip_the_sdk()
    skip_the_search()
    if name == "language-python":
        from lab.plugins.language.host import serve_language_host  # noqa: PLC0415

        serve_language_host(address)
        return
    from lab.plugins.server import serve  # noqa: PLC0415

    if name == "command":
        from lab.plugins.command.provider import Command  # noqa: PLC0415

        asyncio.run(serve(Command, address))
    else:
        from lab.plugins.kubernetes.provider import Kubernetes  # noqa: PLC0415

        asyncio.run(serve(Kubernetes, address))


if __name__ == "__main__":
    main()
