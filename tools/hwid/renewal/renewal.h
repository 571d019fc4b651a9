// The life of the credentials of one name: enrolled, renewed, switched, and what is left of old
// ones removed. Each step is on the disk before the next: a run that was killed, or a machine that
// lost power, is gone on with by the next run, and there is always one working pair.
#pragma once

#include <hwid/device_config.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/aws_issuer.h"
#include "tools/hwid/renewal/est_issuer.h"
#include "tools/hwid/renewal/place.h"
#include "tools/hwid/renewal/state.h"
#include "tools/hwid/renewal/trial.h"
#include "transport/cloud/renewal_time.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

enum class Outcome {
  not_due,
  due,      // of a forecast: a try would be made
  waiting,  // a try before failed, and the next one is later
  pending,  // the CA has not decided
  done,     // a new generation is current
  failed    // the old one, if there is one, stays
};

struct Report {
  Outcome outcome = Outcome::failed;
  std::string name;
  unsigned generation = 0;  // the current one; 0: none
  std::string subject;      // of its certificate
  std::string serial;
  std::time_t ends = 0;  // of its certificate
  std::time_t due = 0;   // when it is renewed
  std::time_t next = 0;  // the next try; 0: when it is due
  std::string why;
  std::vector<std::string> removed;        // generations and keys
  std::vector<std::string> to_deactivate;  // ids of AWS's certificates, those of runs before, too
  std::string hook_failed;                 // which ones, and how
  std::string clean_up_failed;             // why something old is still there
};

// What the user wants of a run.
struct Orders {
  bool now = false;      // whether or not it is due, or a try failed before
  bool new_key = false;  // beside the old one
  std::chrono::seconds keep_old = std::chrono::hours(24 * 7);
  std::vector<std::string> hooks;  // programs
};

class Renewal {
 public:
  // Has the store of that name until its end. Throws transport::Error, UsageError.
  Renewal(Invocation& invocation, transport::DeviceConfig config, const Place& place,
          Orders orders);

  // A first certificate, or one for another key or subject. What is there stays until the new one
  // was tried. Failures are thrown: transport::Error, core::Error.
  Report enroll(const std::string& key_source, Applicant applicant, const Trust& trust);

  // Renews by re-enrolment where it is time. A try that fails is in the report, and remembered.
  // Throws where no try can be made: there is nothing to renew.
  Report renew();

 private:
  using Generation = transport::CredentialStore::Generation;

  const char* backend() const { return by_aws_ ? "aws" : "est"; }  // of the audit trail
  std::optional<Generation> usable_candidate();
  std::optional<Generation> valid_generation(const X509* ended) const;
  double draw_of_try() const;
  void give_up(const std::string& certificate_id);
  void drop(const Generation& generation, Report& report);
  std::optional<Generation> heir_of(unsigned number, const std::string& uri);
  void drop_if_possible(const Generation& generation);
  void forget_key(unsigned number, Report& report);
  void remove_orphans(Report& report);
  void note_old(const Generation& current);
  void remove_old(const Generation& current, Report& report);
  void clean_up(Report& report);
  void make_try(const std::optional<Generation>& current, Report& report);
  void run_hooks(Report& report);
  bool has_same_key(const Generation& one, const Generation& other);
  bool has_lost_key(const Generation& candidate, const Generation& current);
  Generation begin_renewal(const Generation& current);
  Applicant applicant_like(const Generation& current) const;
  void renew_from(const Generation& current, Report& report);
  void go_on(Report& report);
  bool obtain(const Generation& generation, const Applicant& applicant, const Trust& trust,
              Report& report);
  transport::DeviceConfig trial_config(const Generation& generation) const;
  Trial try_patiently(const Generation& generation, const std::optional<Generation>& old);
  void try_new(const Generation& generation, const std::optional<Generation>& current);
  void make_current(const Generation& generation, Report& report);
  void note_failure(const std::string& why, std::chrono::seconds asked, bool pending,
                    Report& report);
  void describe_current(Report& report) const;
  void save();

  Invocation& invocation_;
  const transport::DeviceConfig config_;
  const Place place_;
  const Orders orders_;
  transport::CredentialStore store_;
  const bool by_aws_;  // as AwsIssuer::is_meant() has it; else by EST
  EstIssuer issuer_;
  AwsIssuer aws_issuer_;
  const transport::RenewAt policy_;
  State state_;
  State saved_;
};

}  // namespace hwid::tool::renewal
