#include "launcher.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

// The library keeps a flag's value under its name in capitals.
static string key(string name)
{
  for (char& c : name) c = toupper(c);
  return name;
}

// A value, or the content of the file that it is the path of.
static string contentOf(const string& value)
{
  string path = value.compare(0, 7, "file://") == 0 ? value.substr(7) : value;
  if (path.empty() || path[0] != '/') {
    return value;
  }
  std::ifstream in(path);
  if (!in) {
    die("Cannot read '" + path + "'");
  }
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

Settings::Settings(flags::FlagsBase* base, const char* program, int argc, char** argv)
{
  Try<flags::Warnings> load = base->load(string("MESOS_"), argc, argv, false, false);
  values = base->buildEnvironment(Option<string>());
  if (is("help")) {
    std::cout << base->usage(Option<string>()) << std::endl;
    exit(EXIT_SUCCESS);
  }
  if (is("version")) {
    std::cout << "mesos 1.11.0" << std::endl;
    exit(EXIT_SUCCESS);
  }
  if (!load.data.some()) {
    die(load.error.t.message + "\n\nAll flags: " + program + " --help");
  }
  for (const flags::Warning& warning : load.data.t.warnings) {
    std::cerr << "WARNING: " << warning.message << std::endl;
  }

  refuse("firewall_rules");
  if (is("http_executor_domain_sockets")) {
    die("--http_executor_domain_sockets is not supported by this build");
  }
  for (const char* name : {"LIBPROCESS_SSL_ENABLED", "SSL_ENABLED"}) {
    const char* value = getenv(name);
    if (value != nullptr && strcmp(value, "0") != 0 && strcmp(value, "false") != 0) {
      die(string(name) + " is set, but this build has no TLS");
    }
  }
}

bool Settings::has(const string& name) const { return values.count(key(name)) > 0; }

string Settings::get(const string& name) const
{
  auto found = values.find(key(name));
  return found == values.end() ? "" : found->second;
}

Option<string> Settings::option(const string& name) const
{
  return has(name) ? Option<string>(get(name)) : Option<string>();
}

Option<Duration> Settings::duration(const string& name) const
{
  return Option<Duration>(Duration::parse(get(name)).get("Bad --" + name));
}

Option<string> Settings::content(const string& name) const
{
  return has(name) ? Option<string>(contentOf(get(name))) : Option<string>();
}

void Settings::refuse(const string& name) const
{
  if (has(name)) {
    die("--" + name + " is not supported by this build");
  }
}

// The text given on the command line or in the environment for a flag whose
// parsed form the library does not print back in a parsable way.
static Option<string> raw(const string& name, int argc, char** argv)
{
  for (int i = argc - 1; i > 0; i--) {
    string prefix = "--" + name + "=";
    if (strncmp(argv[i], prefix.c_str(), prefix.size()) == 0) {
      return contentOf(argv[i] + prefix.size());
    }
  }
  string upper = "MESOS_";
  for (char c : name) upper += toupper(c);
  const char* value = getenv(upper.c_str());
  return value == nullptr ? Option<string>() : Option<string>(contentOf(value));
}

void startLogging(int argc, char** argv)
{
  // Option<logging::Flags>, with the object in place after the state.
  struct Some { int state; alignas(8) char flags[4096]; };
  static Some some;
  some.state = 0;
  logging::Flags* flags = new (some.flags) logging::Flags();
  __asm__ volatile("" : "+r"(flags) : : "memory");
  static_cast<flags::FlagsBase*>(flags)->load(string("MESOS_"), argc, argv, true, false);
  logging::initialize(argv[0], true, *reinterpret_cast<Option<logging::Flags>*>(&some));
}

void setupNetwork(const Settings& flags)
{
  const char* pairs[][2] = {
    {"ip", "LIBPROCESS_IP"}, {"ip6", "LIBPROCESS_IP6"}, {"port", "LIBPROCESS_PORT"},
    {"advertise_ip", "LIBPROCESS_ADVERTISE_IP"}, {"advertise_port", "LIBPROCESS_ADVERTISE_PORT"},
    {"memory_profiling", "LIBPROCESS_MEMORY_PROFILING"}};
  for (auto& pair : pairs) {
    string command = string(pair[0]) + "_discovery_command";
    if (flags.has(command)) {
      if (flags.has(pair[0])) {
        die("Only one of `--" + string(pair[0]) + "` or `--" + command + "` should be specified");
      }
      FILE* pipe = popen(flags.get(command).c_str(), "r");
      char line[256] = "";
      if (pipe == nullptr || fgets(line, sizeof(line), pipe) == nullptr || pclose(pipe) != 0) {
        die("`--" + command + "` failed");
      }
      setenv(pair[1], string(line, strcspn(line, " \r\n")).c_str(), 1);
    } else if (flags.has(pair[0])) {
      setenv(pair[1], flags.get(pair[0]).c_str(), 1);
    }
  }
}

void setupProcess(const string& id, const string& realm)
{
  if (!process::initialize(id, realm + "-readwrite", realm + "-readonly")) {
    die("libprocess was initialized too early");
  }
  process::spawn(make<VersionProcess>(), true);
}

void setupModules(const Settings& flags, int argc, char** argv)
{
  if (flags.has("modules") && flags.has("modules_dir")) {
    die("--modules and --modules_dir exclude each other");
  }
  if (flags.has("modules_dir")) {
    modules::ModuleManager::load(flags.get("modules_dir")).get("Error loading modules");
  }
  if (flags.has("modules")) {
    const OpaqueResult modules = parseModules(raw("modules", argc, argv).t);
    modules::ModuleManager::loadManifest(*value<Modules>(modules, "--modules"))
      .get("Error loading modules");
  }
  if (flags.has("hooks")) {
    HookManager::initialize(flags.get("hooks")).get("--hooks");
  }
}

Option<Authorizer*> createAuthorizer(const string& name, int argc, char** argv)
{
  Authorizer* authorizer;
  const Option<string> acls = raw("acls", argc, argv);
  if (name != "local") {
    authorizer = Authorizer::create(name).get("Could not create authorizer '" + name + "'");
  } else if (acls.some()) {
    const OpaqueResult parsed = parseACLs(acls.t);
    authorizer = Authorizer::create(*value<ACLs>(parsed, "--acls"))
      .get("Could not create the local authorizer");
  } else {
    return Option<Authorizer*>();
  }
  setCallbacks(createCallbacks(authorizer));
  return Option<Authorizer*>(authorizer);
}

void runProcess(process::ProcessBase* process)
{
  const process::UPID pid = process::spawn(process, false);
  const Duration forever = {-1000000000};
  process::wait(pid, forever);
  fflush(nullptr);
  _exit(EXIT_SUCCESS);  // nothing is left that would need a destructor
}
