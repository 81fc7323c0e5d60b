// What the three programs have in common: their flags, their start, their end.
#pragma once

#include <cstring>

#include "library.h"

// Constructs a library object in zeroed memory that is larger than any of them
// (the largest, Master, has 6.5 KiB). The empty asm keeps the compiler from
// using what it believes to know about the layout of the new object.
template <typename T, typename... Args>
T* make(Args&&... args)
{
  void* memory = ::operator new(65536);
  memset(memory, 0, 65536);
  T* object = new (memory) T(std::forward<Args>(args)...);
  __asm__ volatile("" : "+r"(object) : : "memory");
  return object;
}

// The value in a Try<T> of unknown size: behind the state word.
template <typename T>
const T* value(const OpaqueResult& result, const string& what)
{
  if (*reinterpret_cast<const int*>(result.storage) != 0) {
    die("Bad value of " + what);
  }
  return reinterpret_cast<const T*>(result.storage + 8);
}

// A program's flags, loaded by the library's own parser.
class Settings
{
public:
  // Answers --help and --version, and refuses what cannot be had with this library.
  Settings(flags::FlagsBase* base, const char* program, int argc, char** argv);

  bool has(const string& name) const;
  string get(const string& name) const;
  bool is(const string& name) const { return get(name) == "true"; }
  Option<string> option(const string& name) const;
  Option<Duration> duration(const string& name) const;

  // A value that may also be given as (the path of) a file.
  Option<string> content(const string& name) const;

private:
  void refuse(const string& name) const;

  std::map<string, string> values;
};

void startLogging(int argc, char** argv);
void setupNetwork(const Settings& flags);
void setupProcess(const string& id, const string& realm);
void setupModules(const Settings& flags, int argc, char** argv);

// The authorizer called `name`, or none when it is the local one and has no ACLs.
Option<Authorizer*> createAuthorizer(const string& name, int argc, char** argv);

// Runs until the program is killed.
[[noreturn]] void runProcess(process::ProcessBase* process);

int masterMain(int argc, char** argv);
int agentMain(int argc, char** argv);
int containerizerMain(int argc, char** argv);
