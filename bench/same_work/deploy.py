"""The work that is compared, in pyinfra's words."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files

root = host.data.root
files.directory(path=f"{root}/conf", mode="755", user="root")
for name in ("one", "two", "three"):
    files.put(
        src=StringIO(f"setting of {name}\n"), dest=f"{root}/conf/{name}", mode="644", user="root"
    )
files.link(path=f"{root}/current", target="conf/one")
