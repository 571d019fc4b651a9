// hwid provision aws: fleet provisioning by claim, and the files of the way by hand.
#include <hwid/transport_error.h>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/enrol/result.h"
#include "tools/hwid/files.h"
#include "tools/hwid/provision/registration.h"
#include "tools/hwid/provision/unregistered.h"
#include "tools/hwid/renewal/deactivation.h"
#include "tools/hwid/x509/name.h"
#include "transport/cloud/aws_provisioning.h"

namespace hwid::tool {
namespace {

using enrol::AuditedEnrolment;
using enrol::Enrolment;
using transport::DeviceConfig;
using transport::ErrorKind;
using transport::Learned;

void add_options(po::options_description& options) {
  enrol::add_enrolment_options(options);
  auto add = options.add_options();
  add("subject", po::value<std::string>()->value_name("NAME"),
      "of the certificate request (default: CN= and the client id, else CN=hwid)");
  add("csr-out", po::value<std::string>()->value_name("FILE"),
      "by hand, first: write the request for `aws iot create-certificate-from-csr`, and end");
  add("accept", po::value<std::string>()->value_name("FILE"),
      "by hand, then: take the certificate from the JSON that it printed; - is standard input");
  add("if-needed", po::bool_switch(),
      "do nothing where a certificate is in use that is for the key and has not ended");
  add("another", po::bool_switch(),
      "another certificate for one that AWS has registered, and the broker does not take");
  add("force", po::bool_switch(), "replace the file of --csr-out");
}

std::string subject_of(const Invocation& invocation, const DeviceConfig& config) {
  if (invocation.has("subject")) return invocation.text("subject");
  const std::string name = config.client_id.empty() ? "hwid" : config.client_id;
  std::string escaped;
  for (const char c : name)
    escaped += (c == '/' || c == '+' || c == '\\' ? "\\" : "") + std::string(1, c);
  return "/CN=" + escaped;
}

Exit write_request(Invocation& invocation, const DeviceConfig& config) {
  const std::string file = invocation.text("csr-out");
  const Existing existing =
      invocation.flag("force") ? Existing::kReplace : Existing::kRefuseWithoutForce;
  require_writable(file, existing);
  const enrol::DeviceKey key =
      enrol::open_device_key(invocation, enrol::key_of(invocation, config));
  write_file(file, enrol::make_request(invocation, key, subject_of(invocation, config)), 0644,
             existing);
  Output& out = invocation.out();
  out.heading("Certificate request");
  out.field("file", file);
  out.line(
      "  next: aws iot create-certificate-from-csr --set-as-active --certificate-signing-request "
      "file://" +
      printable(file) + " > answer.json");
  out.line("  then: hwid provision aws --config " + printable(invocation.text("config")) +
           " --accept answer.json");
  out.document({{"csr", file}});
  return kGood;
}

// What a run by claim has got, and is not to be used.
void give_up_other(Enrolment& enrolment, const std::string& certificate_id) {
  for (const std::string& before :
       provision::certificate_ids_only_in(enrolment.begin(), enrolment.store()))
    if (before != certificate_id)
      renewal::remember_to_deactivate(enrolment.store().directory(), before);
}

Exit accept(Invocation& invocation, const DeviceConfig& config) {
  const std::string file = invocation.text("accept");
  const auto issued = transport::aws::parse_issued("file=" + file, read_file(file));
  Enrolment enrolment(invocation, config);
  const auto audited = AuditedEnrolment(invocation, "aws", config.endpoint, enrolment.name());
  audited.run([&] {
    // Signed by the key itself: so the certificate is compared with what the token has.
    transport::aws::check_issued_for(
        issued, enrol::make_request(invocation, enrolment.key(), subject_of(invocation, config)));
    give_up_other(enrolment, issued.certificate_id);
    // Before what makes the generation whole: a run that finishes it does not know the id.
    provision::keep_issued(enrolment.begin(), issued);
    enrolment.keep(issued.certificate_pem);
    enrolment.keep(Learned{{"profile", "aws"}});
    provision::forget_unregistered(enrolment.begin());
    enrolment.prove_and_use(enrol::patience_of(invocation));
  });
  enrol::Facts facts = enrolment.facts();
  facts.emplace_back("certificate_id", issued.certificate_id);
  if (!issued.certificate_arn.empty())
    facts.emplace_back("certificate_arn", issued.certificate_arn);
  enrol::print(invocation, "Certificate in use", facts);
  return kGood;
}

// A run that ended right behind the registration left a token that has done its work.
void forget_registered(Enrolment& enrolment) {
  const auto candidate = enrolment.store().candidate();
  if (candidate && !enrolment.store().learned_with(candidate->number).empty())
    provision::forget_unregistered(candidate->key.parent_path());
}

std::string certificate_in(const std::filesystem::path& generation) {
  const std::string id = provision::certificate_id_in(generation);
  return "certificate " + (id.empty() ? "of " + generation.string() : id);
}

// AWS has it in force, and another one would be one too many: who says that it is?
template <typename Proof>
void prove_or_keep(const Enrolment& enrolment, Proof proof) {
  try {
    proof();
  } catch (const transport::Error& error) {
    const auto kept = enrolment.begun();
    const bool is_no = error.kind() == ErrorKind::refused || error.kind() == ErrorKind::closed;
    if (!kept || !is_no) throw;
    throw transport::Error(
        error.kind(), "use " + certificate_in(*kept), "", error.what(),
        "it is kept, and tried again by the next run; where AWS is never to take it: hwid "
        "provision aws --another",
        error.status(), error.retry_after());
  }
}

bool finish_interrupted(Enrolment& enrolment, const transport::cloud::Patience& patience) {
  bool was_finished = false;
  prove_or_keep(enrolment, [&] { was_finished = enrolment.finish_interrupted(patience); });
  return was_finished;
}

void give_up_interrupted(Enrolment& enrolment) {
  const auto left = enrolment.give_up_interrupted();
  if (!left) return;
  for (const std::string& id : provision::certificate_ids_only_in(*left, enrolment.store()))
    renewal::remember_to_deactivate(enrolment.store().directory(), id);
  Output::note(certificate_in(*left) +
               " is not used, and AWS keeps it in force: deactivate it, which hwid status tells, "
               "too. Another one is asked for");
}

// What is issued is on the disk before it is registered, with the token that registers it; and that
// is gone once all is there that the device needs. What is learned comes last: with it the next run
// does not ask AWS any more.
void register_device(Invocation& invocation, const DeviceConfig& config, Enrolment& enrolment,
                     const transport::cloud::Patience& patience) {
  const std::string csr =
      enrol::make_request(invocation, enrolment.key(), subject_of(invocation, config));
  const auto registration = provision::register_device(
      config, csr, enrolment.begun(), [&] { return enrolment.begin(); },
      [&](const std::string& certificate_id) {
        renewal::remember_to_deactivate(enrolment.store().directory(), certificate_id);
      },
      patience);
  enrolment.keep(registration.issued.certificate_pem);
  enrolment.keep(provision::learned_from(config, registration));
  provision::forget_unregistered(enrolment.begin());
}

Exit print_in_use(Invocation& invocation, Enrolment& enrolment) {
  enrol::Facts facts = enrolment.facts();
  if (const auto current = enrolment.store().current())
    for (auto& fact : provision::read_registration(current->key.parent_path()))
      facts.push_back(std::move(fact));
  enrol::print(invocation, "Certificate in use", facts);
  return kGood;
}

Exit run_provision(Invocation& invocation, const DeviceConfig& config) {
  transport::aws::check_provisioning(config);
  Enrolment enrolment(invocation, config);
  if (invocation.flag("if-needed") && enrolment.is_in_service()) {
    Output::note("nothing is done: the certificate in use is for this key, and has not ended");
    return print_in_use(invocation, enrolment);
  }
  const auto patience = enrol::patience_of(invocation);
  const auto audited = AuditedEnrolment(invocation, "aws", config.endpoint, enrolment.name());
  bool was_finished = false;
  audited.run([&] {
    forget_registered(enrolment);
    if (invocation.flag("another")) give_up_interrupted(enrolment);
    was_finished = finish_interrupted(enrolment, patience);
    if (was_finished) return;
    register_device(invocation, config, enrolment, patience);
    prove_or_keep(enrolment, [&] { enrolment.prove_and_use(patience); });
  });
  if (was_finished) Output::note("what an interrupted run had got is in use now");
  return print_in_use(invocation, enrolment);
}

Exit run(Invocation& invocation) {
  if (invocation.has("csr-out") && invocation.has("accept"))
    throw UsageError("--csr-out, --accept: one is done before, the other after AWS has answered");
  if (invocation.flag("if-needed") && (invocation.has("csr-out") || invocation.has("accept")))
    throw UsageError("--if-needed: it is for the way by claim; leave it out by hand");
  if (invocation.flag("another") &&
      (invocation.has("csr-out") || invocation.has("accept") || invocation.flag("if-needed")))
    throw UsageError("--another: it is for the way by claim, and not with --if-needed");
  (void)enrol::patience_of(invocation);
  const DeviceConfig config = enrol::read_device_conf(invocation, transport::Profile::aws);
  (void)x509::parse_subject(subject_of(invocation, config));
  (void)enrol::state_dir_of(config);
  if (invocation.has("csr-out")) return write_request(invocation, config);
  return invocation.has("accept") ? accept(invocation, config) : run_provision(invocation, config);
}

}  // namespace

const Command kProvisionAws = {
    "provision aws",
    "--config FILE [--csr-out FILE | --accept FILE] [OPTION...]",
    "a certificate from AWS IoT Core, by claim or by hand",
    "Fleet provisioning: connects with claim-cert and claim-key, lets AWS make a certificate for "
    "the\n"
    "device's key (CreateCertificateFromCsr), registers it by the template (RegisterThing), "
    "connects\n"
    "with it, and only then uses it. Run it again whenever it was interrupted; with --if-needed a\n"
    "device that has its certificate is left alone. What the broker does not take is kept, and "
    "tried\n"
    "again; --another has another one made. With --csr-out and --accept the same by hand.\n"
    "The policy that the device needs: `hwid aws policy`.",
    "  hwid provision aws --config /etc/hwid/device.conf\n"
    "  hwid provision aws --config /etc/hwid/device.conf --if-needed\n"
    "  hwid provision aws --config /etc/hwid/device.conf --csr-out device.csr\n"
    "  aws iot create-certificate-from-csr --set-as-active \\\n"
    "      --certificate-signing-request file://device.csr > answer.json\n"
    "  hwid provision aws --config /etc/hwid/device.conf --accept answer.json\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
