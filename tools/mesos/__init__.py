"""Apache Mesos 1.11.0 out of the binary that Apache publishes.

Per release, Apache publishes the package `mesos.scheduler` with (nearly) all of libmesos in one
shared object. `library` fetches it, `elf` makes it loadable on a current Linux, and the C++ in
`launcher/` brings back the main functions of mesos-master, mesos-agent and mesos-containerizer.
`executor` and `fetcher` take the place of the two small programs that are not in the library.
"""
