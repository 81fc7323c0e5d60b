// The missing main() functions around the Apache Mesos 1.11.0 library.
//
// One program, several names: mesos-master, mesos-agent (mesos-slave) and
// mesos-containerizer, chosen by argv[0]. Everything they do is in libmesos.so;
// the files here only call its entry points.
#include <cstring>

#include "launcher.h"

int main(int argc, char** argv)
{
  const char* slash = strrchr(argv[0], '/');
  const string name = slash == nullptr ? argv[0] : slash + 1;
  if (name == "mesos-master") return masterMain(argc, argv);
  if (name == "mesos-agent" || name == "mesos-slave") return agentMain(argc, argv);
  if (name == "mesos-containerizer") return containerizerMain(argc, argv);
  die("Call this program as mesos-master, mesos-agent or mesos-containerizer");
}
