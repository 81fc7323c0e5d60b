// mesos-agent.
#include "launcher.h"

#include <list>
#include <sstream>

// The agent's list of pending operations (GET /containerizer/debug). Its class
// is all inline and was never instantiated in the library, except for its
// methods and its type, so the process { vptr; std::list } + ProcessBase and its
// two vtables are put together here. The tracker itself is an Owned<> of it,
// that is a shared_ptr to a pointer.
static PendingFutureTracker* createFutureTracker()
{
  static const ptrdiff_t base = 32, functions = 12;
  static const void* vtable[] = {(void*) base, nullptr, trackerTypeinfo, nullptr, nullptr};
  static const void* baseVtable[2 + functions];
  memcpy(baseVtable, processBaseVtable, sizeof(baseVtable));
  baseVtable[0] = (void*) -base;
  baseVtable[1] = trackerTypeinfo;

  static char object[65536];
  new (object + 8) std::list<char>();
  processBase(object + base, process::ID::generate("pending-future-tracker"));
  *reinterpret_cast<const void***>(object) = vtable + 3;
  *reinterpret_cast<const void***>(object + base) = baseVtable + 2;
  process::spawn(reinterpret_cast<process::ProcessBase*>(object + base), false);

  return reinterpret_cast<PendingFutureTracker*>(
      new std::shared_ptr<void*>(std::make_shared<void*>(object)));
}

static void joinCgroups(const Settings& flags, const string& subsystems)
{
  std::istringstream in(subsystems);
  for (string subsystem; std::getline(in, subsystem, ',');) {
    const string root = flags.get("cgroups_root");
    const string hierarchy =
      cgroups::prepare(flags.get("cgroups_hierarchy"), subsystem, root)
        .get("cgroup " + root + " of " + subsystem);
    const string cgroup = root + "/slave";
    if (!cgroups::exists(hierarchy, cgroup)) {
      cgroups::create(hierarchy, cgroup, false).get("cannot make cgroup " + cgroup);
    }
    cgroups::assign(hierarchy, cgroup, getpid()).get("cannot enter cgroup " + cgroup);
  }
}

int agentMain(int argc, char** argv)
{
  A::Flags* flags_ = make<A::Flags>();
  Settings flags(flags_, "mesos-agent", argc, argv);

  if (flags.has("master") == flags.has("master_detector")) {
    die("Specify exactly one of `--master` or `--master_detector`");
  }
  if (flags.has("csi_plugin_config_dir")) {
    die("--csi_plugin_config_dir is not supported by this build");
  }

  startLogging(argc, argv);
  setupNetwork(flags);
  for (const char* name : {"agent_subsystems", "slave_subsystems"}) {
    if (flags.has(name)) joinCgroups(flags, flags.get(name));
  }

  const string id = process::ID::generate("slave");
  setupProcess(id, "mesos-agent");
  setupModules(flags, argc, argv);

  if (flags.is("systemd_enable_support") && systemd::exists()) {
    systemd::Flags* systemdFlags = make<systemd::Flags>();
    static_cast<flags::FlagsBase*>(systemdFlags)->load(
        std::map<string, string>{
          {"enabled", "true"},
          {"runtime_directory", flags.get("systemd_runtime_directory")},
          {"cgroups_hierarchy", flags.get("cgroups_hierarchy")}},
        false, Option<string>());
    systemd::initialize(*systemdFlags).get("systemd support");
  }

  A::Fetcher* fetcher = make<A::Fetcher>(*flags_);
  A::GarbageCollector* gc = make<A::GarbageCollector>(flags.get("work_dir"));

  SecretResolver* secretResolver = SecretResolver::create(flags.option("secret_resolver"))
    .get("--secret_resolver");

  A::VolumeGidManager* gids = nullptr;
  if (flags.has("volume_gid_range")) {
    gids = A::VolumeGidManager::create(*flags_).get("volume gids");
  }

  PendingFutureTracker* tracker = createFutureTracker();

  SecretGenerator* secretGenerator = nullptr;
  if (flags.has("jwt_secret_key")) {
    secretGenerator = reinterpret_cast<SecretGenerator*>(
        make<authentication::executor::JWTSecretGenerator>(flags.content("jwt_secret_key").t));
  }

  A::Containerizer* containerizer = A::Containerizer::create(
      *flags_, false, fetcher, gc, secretResolver, gids, tracker, nullptr)
    .get("--containerizers");

  auto* detector = mesos::master::detector::MasterDetector::create(
      flags.content("master"), flags.option("master_detector"),
      flags.duration("zk_session_timeout")).get("cannot find the leading master");

  const Option<Authorizer*> authorizer = createAuthorizer(flags.get("authorizer"), argc, argv);
  Files* files = make<Files>(Option<string>(string("mesos-agent-readonly")), authorizer);
  auto* updates = make<A::TaskStatusUpdateManager>(*flags_);

  auto* estimator = mesos::slave::ResourceEstimator::create(flags.option("resource_estimator"))
    .get("--resource_estimator");
  auto* qos = mesos::slave::QoSController::create(flags.option("qos_controller"))
    .get("--qos_controller");

  runProcess(make<A::Slave>(
      id, *flags_, detector, containerizer, files, gc, updates, estimator, qos, secretGenerator,
      gids, tracker, process::Owned<A::CSIServer>(),
      Option<process::network::internal::Socket<process::network::unix::Address>>(), authorizer));
}
