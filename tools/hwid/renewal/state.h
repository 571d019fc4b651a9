// What renewals of one name have to remember: STATE-DIR/NAME/renewal.json.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hwid::tool::renewal {

// Of a hook that was to run, and has not succeeded since: it outlives switches.
struct HookFailure {
  std::string why;              // the last time; empty: it has not ended
  std::time_t since = 0;        // the first time
  std::time_t untold_ends = 0;  // of the certificate that programs had then; 0: they had none

  bool operator==(const HookFailure&) const = default;
};

// Who runs a hook, and since when. That may be over: whoever does may have been killed.
struct HookRun {
  pid_t process = 0;  // 0: nobody
  std::time_t begun = 0;

  bool operator==(const HookRun&) const = default;
};

// Times are seconds since 1970; 0: never. Holds nothing secret. A plain value.
struct State {
  unsigned failures = 0;     // one after the other, since the last success
  std::time_t tried = 0;     // the last try that did not end well, or is pending
  std::time_t next = 0;      // not before
  std::string why;           // it did not end well, or what the CA says of a request that waits
  bool pending = false;      // the CA has the request, and has not said no
  unsigned refused = 0;      // how often the endpoint has refused the candidate
  std::time_t switched = 0;  // when the current generation became that
  unsigned hooks_due = 0;    // where this is the current generation, its hooks are to run
  std::set<std::string> hooks_done;                 // that have succeeded for it
  std::map<std::string, HookFailure> hooks_failed;  // by hook, as hooks_done has it
  HookRun hook_run;
  std::map<unsigned, std::string> made_keys;   // URIs of keys that renewals made, by generation
  std::map<unsigned, std::time_t> superseded;  // since when older generations are out of use
  std::vector<std::string> to_deactivate;  // ids of AWS's certificates, which deactivation.h tells

  bool operator==(const State&) const = default;
};

// The generation becomes the current one: its hooks are to run, and what went wrong before is over.
// To be written before the switch, so that a run that comes after a crash knows what is left to do.
void note_switch(State& state, unsigned generation);

// That of a store's directory, for who only looks; an empty one where there is none. A file that
// makes no sense counts as none, and is told of: nothing in it is worth a device without a
// certificate. Throws transport::Error where it cannot be read.
State read_state(const std::filesystem::path& directory);

// The same for who has the store and writes it: such a file is kept beside it, as
// renewal.json.damaged.
State take_state(const std::filesystem::path& directory);

// Whether there is one.
bool has_state(const std::filesystem::path& directory);

// Durably, in one step. Throws transport::Error.
void write_state(const std::filesystem::path& directory, const State& state);

}  // namespace hwid::tool::renewal
