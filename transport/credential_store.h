#pragma once

#include <hwid/device_config.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hwid::transport {

// What enrolment learned, as keys and values of device.conf.
using Learned = std::map<std::string, std::string>;

// Merges `learned` into STATE-DIR/learned.conf, which DeviceConfig::read() reads after device.conf;
// an empty value takes a key out, and another `profile` than the one before takes kKeysOfCloud out.
// The file is replaced by one rename, and not touched where it says all of it already. Throws
// Error: of kind usage for a key that device.conf does not have, of kind refused for a value that
// cannot stand in a line (they come from servers), of kind environment else. Threads and processes:
// any, one waits for the other.
void update_learned(const std::filesystem::path& state_dir, const Learned& learned);

// The name under which the credentials of `config` are kept: NAME of `key = hwid://NAME` (or
// hwid:NAME), that of a key which is in the store already, else "device".
std::string credential_name(const DeviceConfig& config);

// The renewed credentials of one name, in generations:
//
//   STATE-DIR/NAME/gen-N/key.pem       a key reference, no secret
//                       /cert.pem      the certificate, then its chain
//                       /learned.conf  what is still to go to STATE-DIR/learned.conf with it
//                 /current             a symbolic link to one of them, switched by one rename
//
// A generation is begun with its key, is given its certificate, is tried by the caller, and becomes
// the current one: whenever the power fails there is the current pair, whole, and what was not yet
// current is there to be gone on with (candidate()). Nothing is removed but by remove().
//
// All methods throw Error, of kind environment where nothing else is said. Every change is synced
// before a method returns. Processes: one at a time has the store of a name; the constructor
// refuses a second one. Threads: one.
class CredentialStore {
 public:
  // What a directory of credentials may be called: 1 to 64 of a-z A-Z 0-9 _ - . with a letter or
  // digit first.
  static bool is_name(const std::string& name) noexcept;

  // Makes the directories that are missing, removes what a crash left half-written, and finishes a
  // switch that it came into. What cannot be removed stays. Throws Error of kind usage where
  // is_name() says no; of kind environment to root, where the directories are another user's.
  CredentialStore(const std::filesystem::path& state_dir, const std::string& name);
  ~CredentialStore();
  CredentialStore(const CredentialStore&) = delete;
  CredentialStore& operator=(const CredentialStore&) = delete;

  struct Generation {
    unsigned number = 0;
    std::filesystem::path key;   // STATE-DIR/NAME/gen-N/key.pem
    std::filesystem::path cert;  // empty: it has none yet
  };

  std::vector<Generation> generations() const;  // the oldest first
  std::optional<Generation> current() const;
  // The newest one above the current: begun, and never made current.
  std::optional<Generation> candidate() const;
  // The number that begin() gives next: also in the label of a new key, it finds that key again
  // where the power failed between its making and begin().
  unsigned next_number() const;

  // A new generation with that key. Throws Error of kind refused where the PEM is no key reference:
  // it would hold the key itself.
  Generation begin(const std::string& key_reference);
  // Replaces the certificate of a generation that is not current. Throws Error of kind refused
  // where `pem` holds no certificate or anything else besides certificates.
  void keep_certificate(unsigned number, const std::string& pem);
  // As update_learned() takes it; goes there when the generation becomes current, at once where it
  // is.
  void keep_learned(unsigned number, const Learned& learned);
  // What keep_learned() left there, until it went to STATE-DIR/learned.conf.
  Learned learned_with(unsigned number) const;
  // REQUIRES: it has a certificate, and a connection with it has succeeded. What it says in
  // learned.conf is said after the switch; where a crash comes between, the next constructor does.
  // `cert` and `key` are learned too: the paths below. Where learned.conf names the pair of another
  // name, nothing goes there.
  void make_current(unsigned number);
  // Not the current one (Error of kind usage).
  void remove(unsigned number);

  // What somebody sees who changes nothing and needs no lock: the current generation, and above it
  // the candidate. Nothing where there is no store.
  struct View {
    std::optional<Generation> current;
    std::optional<Generation> candidate;
  };
  static View look_at(const std::filesystem::path& state_dir, const std::string& name);

  // Where the current pair always is.
  std::filesystem::path current_key() const { return directory_ / "current" / "key.pem"; }
  std::filesystem::path current_cert() const { return directory_ / "current" / "cert.pem"; }
  const std::filesystem::path& directory() const noexcept { return directory_; }

 private:
  std::filesystem::path path_of(unsigned number) const;
  std::filesystem::path existing(unsigned number) const;
  std::optional<unsigned> current_number() const;
  void remove_leftovers() const;
  bool is_published() const;
  void publish_learned() const;

  std::filesystem::path state_dir_;
  std::filesystem::path directory_;  // STATE-DIR/NAME, absolute
  int lock_ = -1;                    // the directory, held by flock
};

}  // namespace hwid::transport
