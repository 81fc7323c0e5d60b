// mesos-containerizer: the agent's helper that starts each container.
#include "launcher.h"

#include <sys/mount.h>

#include <cstdlib>
#include <cstring>

// The `launch` subcommand object: Subcommand is { vptr; string name; FlagsBase }
// and MesosContainerizerLaunch appends its own flags. The class has no
// constructor outside of the program that was left out, so it is put together
// here from the parts that the library has.
int containerizerMain(int argc, char** argv)
{
  const string command = argc > 1 ? argv[1] : "";
  alignas(16) static char object[65536];
  flags::FlagsBase* flags;
  int (*execute)(void*);

  if (command == "launch") {
    *reinterpret_cast<char**>(object) = launchVtable + 16;
    new (object + 8) string(command);
    flagsBase(object + 40);
    launchFlags(object + 224);
    flags = launchGetFlags(object);
    execute = launchExecute;
  } else if (command == "network-cni-setup") {
    cniCreate(object);
    flags = cniGetFlags(object);
    execute = cniExecute;
  } else if (command == "mount" && argc == 4) {
    // mount --operation=make-rslave --path=DIR
    const char* path = nullptr;
    bool slave = false;
    for (int i = 2; i < argc; i++) {
      if (strncmp(argv[i], "--path=", 7) == 0) path = argv[i] + 7;
      slave = slave || strcmp(argv[i], "--operation=make-rslave") == 0;
    }
    if (path == nullptr || !slave || mount(nullptr, path, nullptr, MS_SLAVE | MS_REC, nullptr) != 0) {
      die("mount: failed");
    }
    return EXIT_SUCCESS;
  } else {
    die("Usage: mesos-containerizer launch|mount|network-cni-setup [OPTIONS]");
  }

  flags->load(string("MESOS_CONTAINERIZER_"), argc - 1, argv + 1, false, false)
    .get("Failed to parse the flags");
  return execute(object);
}
