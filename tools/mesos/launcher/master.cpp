// mesos-master.
#include "launcher.h"

#include <sys/stat.h>

#include <cstdlib>

// Has the layout of a MasterContender (two destructors, then these two). With
// the standalone detector it appoints its own master as soon as the master
// tells who it is; contending is left to the library's contender.
class Appointer
{
public:
  Appointer(void* _contender, void* _detector) : contender(_contender), detector(_detector) {}
  virtual ~Appointer() {}

  virtual void initialize(const MasterInfo& info)
  {
    reinterpret_cast<Appointer*>(contender)->initialize(info);
    reinterpret_cast<mesos::master::detector::StandaloneMasterDetector*>(detector)
      ->appoint(Option<MasterInfo>(info));
  }

  virtual std::shared_ptr<void> contend()
  {
    return reinterpret_cast<Appointer*>(contender)->contend();
  }

private:
  void* contender;
  void* detector;
};

int masterMain(int argc, char** argv)
{
  M::Flags* flags_ = make<M::Flags>();
  Settings flags(flags_, "mesos-master", argc, argv);

  if (flags.has("zk")
      ? flags.has("master_contender") || flags.has("master_detector")
      : flags.has("master_contender") != flags.has("master_detector")) {
    die("Specify --zk, or both --master_contender and --master_detector, or none of them");
  }
  if (flags.get("allocator") != "hierarchical" && flags.get("allocator") != "HierarchicalDRF") {
    die("--allocator must be 'hierarchical' in this build");
  }
  if (flags.get("role_sorter") != "drf" || flags.get("framework_sorter") != "drf") {
    die("--role_sorter and --framework_sorter must be 'drf' in this build");
  }

  startLogging(argc, argv);
  setupNetwork(flags);
  setupProcess("master", "mesos-master");
  setupModules(flags, argc, argv);

  auto* allocator = make<M::allocator::HierarchicalDRFAllocator>();

  const Option<string> zk = flags.content("zk");
  const Option<Duration> timeout = flags.duration("zk_session_timeout");

  void* storage = nullptr;
  const string registry = flags.get("registry");
  if (registry == "in_memory") {
    storage = make<state::InMemoryStorage>();
  } else if (registry == "replicated_log" || registry == "log_storage") {
    if (!flags.has("work_dir")) {
      die("--registry=replicated_log needs --work_dir");
    }
    const string dir = flags.get("work_dir");
    for (size_t i = 1; i <= dir.size(); i++) {
      if (i == dir.size() || dir[i] == '/') mkdir(dir.substr(0, i).c_str(), 0755);
    }
    const bool initialize = flags.is("log_auto_initialize");
    log::Log* log;
    if (zk.some()) {
      if (!flags.has("quorum")) {
        die("Need to specify --quorum for replicated log based registry when using ZooKeeper");
      }
      Try<zookeeper::URL> parsed = zookeeper::URL::parse(zk.t);
      const zookeeper::URL& url = parsed.get("--zk is not a ZooKeeper URL");
      log = make<log::Log>(
          atoi(flags.get("quorum").c_str()), dir + "/replicated_log", url.servers, timeout.t,
          url.path + (url.path.back() == '/' ? "" : "/") + "log_replicas", url.authentication,
          initialize, Option<string>("registrar/"));
    } else {
      log = make<log::Log>(
          1, dir + "/replicated_log", std::set<process::UPID>(), initialize,
          Option<string>("registrar/"));
    }
    storage = make<state::LogStorage>(log, size_t(0));
  } else {
    die("'" + registry + "' is not a supported option for registry persistence");
  }

  state::State* state = new state::State();
  state->storage = storage;
  const Option<string> realm(string("mesos-master-readonly"));
  M::Registrar* registrar = make<M::Registrar>(*flags_, state, realm);

  auto* contender = mesos::master::contender::MasterContender::create(
      zk, flags.option("master_contender"), timeout).get("cannot take part in the election");
  auto* detector = mesos::master::detector::MasterDetector::create(
      zk, flags.option("master_detector"), timeout).get("cannot find the leading master");
  if (!zk.some() && !flags.has("master_detector")) {
    contender = reinterpret_cast<mesos::master::contender::MasterContender*>(
        new Appointer(contender, detector));
  }

  const Option<Authorizer*> authorizer = createAuthorizer(flags.get("authorizers"), argc, argv);
  Files* files = make<Files>(realm, authorizer);

  std::shared_ptr<process::RateLimiter> limiter;
  for (const char* name : {"agent_removal_rate_limit", "slave_removal_rate_limit"}) {
    if (flags.has(name)) {
      const string value = flags.get(name);
      const size_t slash = value.find('/');
      const int permits = atoi(value.c_str());
      if (slash == string::npos || permits <= 0) {
        die("Invalid " + string(name) + ": " + value +
            "; expected AGENTS/DURATION, as in 1/10secs");
      }
      limiter.reset(make<process::RateLimiter>(
          permits, Duration::parse(value.substr(slash + 1)).get("Invalid " + string(name))),
          [](process::RateLimiter*) {});
    }
  }

  runProcess(make<M::Master>(
      reinterpret_cast<mesos::allocator::Allocator*>(allocator), registrar, files, contender,
      detector, authorizer,
      limiter ? Option<std::shared_ptr<process::RateLimiter>>(limiter)
              : Option<std::shared_ptr<process::RateLimiter>>(),
      *flags_));
}
