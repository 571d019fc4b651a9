// From a key to a certificate that is in use: what all ways of enrolment have in common.
#pragma once

#include <hwid/device_config.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "tools/hwid/enrol/device_key.h"
#include "tools/hwid/enrol/result.h"
#include "tools/hwid/invocation.h"
#include "transport/cloud/provisioning.h"
#include "transport/credential_store.h"

namespace hwid::tool::enrol {

void add_config_options(po::options_description& options);     // --config, --timeout
void add_enrolment_options(po::options_description& options);  // and --key, --name

// The device.conf that --config names, with what was learned. Throws UsageError where there is no
// --config, transport::Error.
transport::DeviceConfig read_device_conf(const Invocation& invocation);
// The same, by transport::read_config_for().
transport::DeviceConfig read_device_conf(const Invocation& invocation, transport::Profile profile);

// What --key or device.conf names. Throws transport::Error where neither does.
std::string key_of(const Invocation& invocation, const transport::DeviceConfig& config);

// Where what is learned goes. Throws transport::Error where device.conf has no state-dir.
std::string state_dir_of(const transport::DeviceConfig& config);

// What --timeout says; tells on standard error why it waits.
transport::cloud::Patience patience_of(const Invocation& invocation);

// Writes a line into the audit trail, if there is one: `op` enrol, `backend` (aws, azure, ...),
// `token` the other side, `object` the device. REQUIRES: one thread.
class AuditedEnrolment {
 public:
  AuditedEnrolment(Invocation& invocation, std::string backend, const std::string& other_side,
                   std::string device);
  // Runs `body`, and records what came of it.
  void run(const std::function<void()>& body) const;

 private:
  void record(const std::string& result, std::chrono::microseconds duration) const;

  core::AuditSink* sink_;
  std::string backend_;
  std::string other_side_;
  std::string device_;
};

// A new certificate for a key that stays where it is: it is kept in a generation beside the current
// one, proved by a connection, and only then used. Whatever interrupts it, the next run goes on.
// One thread.
class Enrolment {
 public:
  // The store of `config`, locked. Throws transport::Error.
  Enrolment(Invocation& invocation, transport::DeviceConfig config);

  const std::string& name() const noexcept { return name_; }
  const transport::DeviceConfig& config() const noexcept { return config_; }
  const DeviceKey& key() const noexcept { return key_; }
  transport::CredentialStore& store() noexcept { return store_; }

  // Whether a certificate is in use already that is for this key and has not ended.
  bool is_in_service() const;
  // Finishes what an earlier run left: a certificate that was issued, and not used yet, is tried as
  // prove_and_use() does it. True: it is in use now. False: there is none. Throws transport::Error
  // where the other side does not want it, or cannot be asked: it is kept.
  bool finish_interrupted(const transport::cloud::Patience& patience);
  // What finish_interrupted() would try is not gone on with: begin() begins another generation.
  // Returns the directory where it stays; nothing where there is none.
  std::optional<std::filesystem::path> give_up_interrupted();
  // Where what is not whole yet is kept: the directory of the generation that an interrupted run
  // has begun with this key; nothing where there is none.
  std::optional<std::filesystem::path> begun() const;
  // The same; begins one where there is none. Throws transport::Error.
  std::filesystem::path begin();
  // Keeps a certificate, PEM with its chain. Throws transport::Error, core::Error.
  void keep(const std::string& certificate);
  // What was learned with it.
  void keep(const transport::Learned& learned);
  // Connects with what was kept, and makes it the current pair.
  // REQUIRES: keep() of a certificate.
  void prove_and_use(const transport::cloud::Patience& patience);

  // The certificate that is in use, and where it is, for people and programs.
  Facts facts() const;

 private:
  using Generation = transport::CredentialStore::Generation;

  transport::DeviceConfig trial(unsigned generation) const;
  bool has_our_key(const Generation& generation) const;
  bool is_whole(const Generation& generation) const;
  std::optional<Generation> our_candidate() const;
  void use(unsigned generation);

  Invocation& invocation_;
  transport::DeviceConfig config_;
  std::string name_;
  DeviceKey key_;
  transport::CredentialStore store_;
  unsigned generation_ = 0;  // that this run works on; 0: none yet
  unsigned given_up_ = 0;    // that is not gone on with; 0: none
};

}  // namespace hwid::tool::enrol
