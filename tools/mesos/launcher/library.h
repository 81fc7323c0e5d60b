// What this launcher calls in the Apache Mesos 1.11.0 library, declared by hand.
//
// No Mesos header is used, so every class below is either complete in the two or
// three members that matter, or opaque and given storage that is much larger than
// the real object. The facts relied on:
//   * Itanium C++ ABI, libstdc++ with the C++11 string (as the library has);
//   * Option<T> is { int state (0 = some, 1 = none); T }, Try<T> is
//     { Option<T>; Option<Error> }, Error is one string, Duration is one int64
//     of nanoseconds, process::Future and process::Owned are one shared_ptr;
//   * logging::Flags derives virtually from flags::FlagsBase, master::Flags and
//     slave::Flags virtually from logging::Flags; every process class has
//     process::ProcessBase as its one virtual base.
#pragma once
#undef unix  // a namespace below

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

using std::string;

// Ends the program with a message for the operator.
[[noreturn]] inline void die(const string& message)
{
  std::cerr << message << std::endl;
  _exit(EXIT_FAILURE);
}

template <typename T>
struct Option
{
  int state = 1;
  union { T t; };

  Option() {}
  Option(const T& value) : state(0), t(value) {}
  Option(const Option& that) : state(that.state) { if (some()) new (&t) T(that.t); }
  Option& operator=(const Option&) = delete;
  ~Option() { if (some()) t.~T(); }
  bool some() const { return state == 0; }
};

struct Error { string message; };
struct Nothing {};

template <typename T, typename E = Error>
struct Try
{
  Option<T> data;
  Option<E> error;

  ~Try() {}

  T& get(const string& what)
  {
    if (!data.some()) {
      die(what + ": " + error.t.message);
    }
    return data.t;
  }
};

struct Duration
{
  int64_t ns;
  static Try<Duration> parse(const string&);
};

namespace flags {

struct Warning { string message; };
struct Warnings { std::vector<Warning> warnings; };

class FlagsBase
{
public:
  FlagsBase();
  virtual ~FlagsBase();
  virtual Try<Warnings> load(const string& prefix);
  virtual Try<Warnings> load(
      const Option<string>& prefix, int argc, const char* const* argv, bool unknowns, bool duplicates);
  virtual Try<Warnings> load(
      const Option<string>& prefix, int* argc, char*** argv, bool unknowns, bool duplicates);
  virtual Try<Warnings> load(
      const std::map<string, Option<string>>& values, bool unknowns, const Option<string>& prefix);
  virtual Try<Warnings> load(
      const std::map<string, string>& values, bool unknowns, const Option<string>& prefix);
  string usage(const Option<string>& message) const;
  std::map<string, string> buildEnvironment(const Option<string>& prefix) const;
  bool help;  // and more; a class without data would get another vtable layout
};

template <typename T> Try<T> parse(const string&);

} // namespace flags

namespace process {

class ProcessBase { public: virtual ~ProcessBase(); bool data; };

struct UPID
{
  char storage[1024];
  ~UPID() {}
  bool operator<(const UPID&) const { return false; }
};

template <typename T> class Owned { std::shared_ptr<T> data; };
class RateLimiter { public: RateLimiter(int permits, const Duration&); char storage[256]; };

bool initialize(const Option<string>& delegate,
                const Option<string>& readwriteRealm,
                const Option<string>& readonlyRealm);
UPID spawn(ProcessBase*, bool manage);
bool wait(const UPID&, const Duration&);

namespace ID { string generate(const string& prefix); }

namespace network {
namespace unix { class Address; }
namespace internal { template <typename Address> class Socket { std::shared_ptr<void> impl; }; }
} // namespace network

} // namespace process

namespace zookeeper {

struct Authentication { string scheme, credentials; };

struct URL
{
  Option<Authentication> authentication;
  string servers;
  string path;
  static Try<URL> parse(const string&);
};

} // namespace zookeeper

#define OPAQUE(size) alignas(8) char storage[size]

namespace mesos {

class MasterInfo { public: MasterInfo(const MasterInfo&); ~MasterInfo(); OPAQUE(2048); };
class ACLs { public: OPAQUE(4096); };
class Modules;
class Authorizer
{
public:
  static Try<Authorizer*> create(const string& name);
  static Try<Authorizer*> create(const ACLs&);
};
class SecretGenerator;
class SecretResolver { public: static Try<SecretResolver*> create(const Option<string>&); };

namespace modules {
class ModuleManager
{
public:
  static Try<Nothing> load(const string& directory);
  static Try<Nothing> loadManifest(const Modules&);
};
} // namespace modules

namespace authentication { namespace executor {
class JWTSecretGenerator { public: JWTSecretGenerator(const string&); OPAQUE(1024); };
}} // namespace authentication::executor

namespace allocator { class Allocator; }

namespace log {
class Log
{
public:
  Log(int quorum, const string& path, const std::set<process::UPID>& pids,
      bool autoInitialize, const Option<string>& metricsPrefix);
  Log(int quorum, const string& path, const string& servers, const Duration& timeout,
      const string& znode, const Option<zookeeper::Authentication>&,
      bool autoInitialize, const Option<string>& metricsPrefix);
  OPAQUE(1024);
};
} // namespace log

namespace state {
class InMemoryStorage { public: InMemoryStorage(); OPAQUE(1024); };
class LogStorage { public: LogStorage(log::Log*, size_t diffsBetweenSnapshots); OPAQUE(1024); };
class State { public: virtual ~State() {} void* storage; };
} // namespace state

namespace master {
namespace contender {
class MasterContender
{
public:
  static Try<MasterContender*> create(const Option<string>& zk, const Option<string>& module, const Option<Duration>& timeout);
};
} // namespace contender
namespace detector {
class MasterDetector
{
public:
  static Try<MasterDetector*> create(const Option<string>& zk, const Option<string>& module, const Option<Duration>& timeout);
};
class StandaloneMasterDetector { public: void appoint(const Option<MasterInfo>& leader); };
} // namespace detector
} // namespace master

namespace slave {
class ResourceEstimator { public: static Try<ResourceEstimator*> create(const Option<string>&); };
class QoSController { public: static Try<QoSController*> create(const Option<string>&); };
} // namespace slave

namespace internal {

class HookManager { public: static Try<Nothing> initialize(const string& hooks); };
class Files { public: Files(const Option<string>& realm, const Option<Authorizer*>&); OPAQUE(1024); };
class PendingFutureTracker;
class VersionProcess : public virtual process::ProcessBase { public: VersionProcess(); bool data; };

namespace logging {
class Flags : public virtual flags::FlagsBase { public: Flags(); bool quiet; };
void initialize(const string& argv0, bool installFailureSignalHandler, const Option<Flags>&);
} // namespace logging

namespace master {
class Flags : public virtual logging::Flags { public: Flags(); bool data; };
class Registrar
{
public:
  Registrar(const Flags&, mesos::state::State*, const Option<string>& realm);
  OPAQUE(8192);
};
class Master : public virtual process::ProcessBase
{
public:
  Master(mesos::allocator::Allocator*, Registrar*, Files*, mesos::master::contender::MasterContender*,
         mesos::master::detector::MasterDetector*, const Option<Authorizer*>&,
         const Option<std::shared_ptr<process::RateLimiter>>&, const Flags&);
};

namespace allocator {
class DRFSorter;
template <typename RoleSorter, typename FrameworkSorter> class HierarchicalAllocatorProcess;
template <typename Process> class MesosAllocator { public: MesosAllocator(); OPAQUE(256); };
typedef MesosAllocator<HierarchicalAllocatorProcess<DRFSorter, DRFSorter>> HierarchicalDRFAllocator;
} // namespace allocator
} // namespace master

namespace slave {
class Flags : public virtual logging::Flags { public: Flags(); bool data; };
class Fetcher { public: Fetcher(const Flags&); OPAQUE(1024); };
class GarbageCollector { public: GarbageCollector(const string& workDir); OPAQUE(1024); };
class TaskStatusUpdateManager { public: TaskStatusUpdateManager(const Flags&); OPAQUE(1024); };
class VolumeGidManager { public: static Try<VolumeGidManager*> create(const Flags&); };
class CSIServer;
class Containerizer
{
public:
  static Try<Containerizer*> create(
      const Flags&, bool local, Fetcher*, GarbageCollector*, SecretResolver*,
      VolumeGidManager*, PendingFutureTracker*, CSIServer*);
};
class Slave : public virtual process::ProcessBase
{
public:
  Slave(const string& id, const Flags&, mesos::master::detector::MasterDetector*, Containerizer*,
        Files*, GarbageCollector*, TaskStatusUpdateManager*, mesos::slave::ResourceEstimator*,
        mesos::slave::QoSController*, SecretGenerator*, VolumeGidManager*, PendingFutureTracker*,
        process::Owned<CSIServer>&&,
        const Option<process::network::internal::Socket<process::network::unix::Address>>&,
        const Option<Authorizer*>&);
};
} // namespace slave

} // namespace internal
} // namespace mesos

namespace systemd {
class Flags : public virtual flags::FlagsBase { public: Flags(); bool enabled; };
bool exists();
Try<Nothing> initialize(const Flags&);
} // namespace systemd

namespace cgroups {
Try<string> prepare(const string& base, const string& subsystem, const string& cgroup);
bool exists(const string& hierarchy, const string& cgroup);
Try<Nothing> create(const string& hierarchy, const string& cgroup, bool recursive);
Try<Nothing> assign(const string& hierarchy, const string& cgroup, pid_t);
} // namespace cgroups

using namespace mesos;
using namespace mesos::internal;
namespace M = mesos::internal::master;
namespace A = mesos::internal::slave;

// Entry points whose declarations would need more types than they are worth,
// named by their symbols. OpaqueResult is what they return through memory.
struct OpaqueResult { alignas(8) char storage[16384]; ~OpaqueResult() {} };
#define STRING "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OpaqueResult parseACLs(const string&) __asm__("_ZN5flags5parseIN5mesos4ACLsEEE3TryIT_5ErrorE" STRING);
OpaqueResult parseModules(const string&) __asm__("_ZN5flags5parseIN5mesos7ModulesEEE3TryIT_5ErrorE" STRING);
OpaqueResult createCallbacks(Authorizer*) __asm__("_ZN5mesos13authorization28createAuthorizationCallbacksB5cxx11EPNS_10AuthorizerE");
void setCallbacks(const OpaqueResult&) __asm__(
    "_ZN7process4http13authorization12setCallbacksERK7hashmapINSt7__cxx1112basic_stringIcSt11char_traits"
    "IcESaIcEEESt8functionIFNS_6FutureIbEENS0_7RequestE6OptionINS0_14authentication9PrincipalEEEESt4hash"
    "IS8_ESt8equal_toIS8_EE");
void flagsBase(void*) __asm__("_ZN5flags9FlagsBaseC1Ev");
void processBase(void*, const string& id) __asm__("_ZN7process11ProcessBaseC2E" STRING);
extern char processBaseVtable[] __asm__("_ZTVN7process11ProcessBaseE");
extern char trackerTypeinfo[] __asm__("_ZTIN5mesos8internal27PendingFutureTrackerProcessE");
extern char launchVtable[] __asm__("_ZTVN5mesos8internal5slave24MesosContainerizerLaunchE");
void launchFlags(void*) __asm__("_ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev");
int launchExecute(void*) __asm__("_ZN5mesos8internal5slave24MesosContainerizerLaunch7executeEv");
flags::FlagsBase* launchGetFlags(void*) __asm__("_ZN5mesos8internal5slave24MesosContainerizerLaunch8getFlagsEv");
void cniCreate(void*) __asm__("_ZN5mesos8internal5slave23NetworkCniIsolatorSetupC1Ev");
int cniExecute(void*) __asm__("_ZN5mesos8internal5slave23NetworkCniIsolatorSetup7executeEv");
flags::FlagsBase* cniGetFlags(void*) __asm__("_ZN5mesos8internal5slave23NetworkCniIsolatorSetup8getFlagsEv");
