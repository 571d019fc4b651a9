// hwid greengrass lite: config.yaml and openssl.cnf of Nucleus Lite.
#include <algorithm>
#include <array>
#include <optional>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/doctor/module_files.h"
#include "tools/hwid/greengrass/check.h"
#include "tools/hwid/greengrass/core_device.h"
#include "tools/hwid/greengrass/document.h"
#include "tools/hwid/greengrass/service_environment.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/module.h"
#include "tools/openssl_conf/writer.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;
using greengrass::CoreDevice;

constexpr char kRoot[] = "/var/lib/greengrass";
constexpr char kComponentUser[] = "gg_component:gg_component";

void add_options(po::options_description& options) {
  greengrass::add_core_options(options, kRoot);
  auto add = options.add_options();
  add("conf-out", po::value<std::string>()->value_name("FILE"),
      "where to write openssl.cnf (default: openssl.cnf beside config.yaml)");
  add("component-user", po::value<std::string>()->value_name("USER:GROUP"),
      "whom components run as (default: gg_component:gg_component)");
  add("force", po::bool_switch(), "replace the files if they exist");
}

// The URI or file that a name leads to, and what else was given.
std::string target_of(Invocation& invocation, const std::string& source) {
  if (!is_key_uri(source)) return source;
  const KeyUri uri = KeyUri::parse(source);
  if (uri.scheme() != KeyUri::Scheme::kName) return source;
  std::optional<std::string> target = invocation.config().resolve(uri.name());
  if (!target)
    throw Error(Reason::kNoObject,
                uri.text() + ": the name is unknown; `hwid list` shows those that are there");
  return *target;
}

// Where the PIN is, as the query of a URI. Whoever may read config.yaml would have one that is in
// it.
std::string pin_query(const Invocation& invocation, const KeyUri& uri) {
  if (uri.pin_value())
    throw Error(Reason::kUnsupported,
                uri.text() +
                    ": a PIN in it would stand in config.yaml; write it to a file, and name that "
                    "with --pin-source, or with pin-source in openssl.cnf");
  const std::string source =
      invocation.has("pin-source") ? invocation.text("pin-source") : uri.pin_source().value_or("");
  if (source.empty()) return "";
  return std::string(uri.text().find('?') == std::string::npos ? "?" : "&") +
         "pin-source=" + core::uri_escape(source);
}

// Of the forms that a key has, those that each release of Nucleus Lite opens: handle:, pkcs11:, and
// a file.
std::string private_key_of(Invocation& invocation, const std::string& source) {
  const std::string target = target_of(invocation, source);
  if (!is_key_uri(target)) return absolute_with_links(target);
  const KeyUri uri = KeyUri::parse(target);
  const std::string pin = pin_query(invocation, uri);
  if (uri.scheme() == KeyUri::Scheme::kPkcs11) return uri.text() + pin;
  if (uri.file()) return absolute_with_links(*uri.file());
  if (!uri.handle())
    throw Error(Reason::kUnsupported,
                uri.text() +
                    ": name a key: tpm2:handle=, or tpm2:file=; `hwid list` shows those "
                    "that are there");
  const std::size_t query = uri.text().find('?');
  return "handle:" + core::handle_text(*uri.handle()) +
         (query == std::string::npos ? "" : uri.text().substr(query)) + pin;
}

std::string certificate_of(Invocation& invocation, const std::string& source) {
  const std::string target = target_of(invocation, source);
  if (!is_key_uri(target)) return absolute_with_links(target);
  const KeyUri uri = KeyUri::parse(target);
  if (uri.scheme() != KeyUri::Scheme::kPkcs11)
    throw Error(Reason::kUnsupported,
                uri.text() +
                    ": Nucleus Lite takes a certificate from a file or by a pkcs11: URI; write it "
                    "to a file: `hwid export`");
  const bool is_open = uri.text().find('?') == std::string::npos;
  if (uri.type() && *uri.type() != core::ObjectClass::kCertificate)
    throw UsageError("--cert: " + uri.text() + " names no certificate; write type=cert");
  return uri.text() + (uri.type() || !is_open ? "" : ";type=cert");
}

bool is_blank(const char c) { return c == ' ' || c == '\t'; }

// What the services must have for a module to look where it looks here, and the settings do not
// give them: NAME=VALUE.
std::vector<std::string> lost_places(Invocation& invocation) {
  const std::vector<std::string> set = core::configured_environment(invocation.section().lookup());
  std::vector<std::string> lost;
  for (const core::BackendConfig& backend : invocation.config().backends) {
    const std::string place = doctor::place_of_module(backend.module);
    if (place.empty() || std::ranges::find(lost, place) != lost.end()) continue;
    const std::string name = place.substr(0, place.find('=') + 1);
    const auto other = std::ranges::find_if(
        set, [&](const std::string& assignment) { return assignment.starts_with(name); });
    if (other == set.end() || *other != place) lost.push_back(place);
  }
  return lost;
}

// Of the variables that PINs come from the names.
std::vector<std::string> pin_variables(Invocation& invocation, const std::string& key) {
  constexpr std::string_view kScheme = "env:";
  std::vector<std::string> sources;
  for (const core::BackendConfig& backend : invocation.config().backends)
    sources.push_back(backend.pin_source);
  if (invocation.has("pin-source")) sources.push_back(invocation.text("pin-source"));
  if (is_key_uri(key)) sources.push_back(KeyUri::parse(key).pin_source().value_or(""));
  std::vector<std::string> names;
  for (const std::string& source : sources) {
    if (source.starts_with(kScheme)) names.push_back(source.substr(kScheme.size()));
  }
  return names;
}

// A module that looks elsewhere may lack a variable.
bool may_want_variables(Reason reason) {
  constexpr std::array kReasons = {Reason::kNoToken, Reason::kTokenNotInitialized,
                                   Reason::kNoObject, Reason::kModuleInitFailed};
  return std::ranges::find(kReasons, reason) != kReasons.end();
}

class Writing {
 public:
  explicit Writing(Invocation& invocation)
      : invocation_(invocation),
        file_(greengrass::config_file(invocation)),
        conf_(invocation.has("conf-out") ? invocation.text("conf-out")
                                         : parent_of(file_) + "/openssl.cnf"),
        device_(greengrass::core_device(invocation, kRoot)) {}

  Exit run() {
    const Existing existing = greengrass::existing(invocation_);
    const std::vector<std::string> needed = {invocation_.text("config"),
                                             invocation_.location().path};
    require_not_needed("out", file_, needed);
    require_not_needed("conf-out", conf_, needed);
    if (absolute(file_) == absolute(conf_))
      throw UsageError("--conf-out: " + conf_ + " is to be config.yaml; name another file");
    require_writable(file_, existing);
    require_writable(conf_, existing);
    greengrass::require_given(device_.certificate, "cert", "cert");
    greengrass::require_given(device_.role_alias, "role-alias", "role-alias");
    const greengrass::Lite lite = this->lite();
    key_ = lite.private_key;
    certificate_ = lite.certificate;
    const std::string text = greengrass::document_of(device_, lite);
    const openssl_conf::Ours ours = this->ours();
    pin_variables_ = pin_variables(invocation_, key_);
    std::optional<greengrass::ServiceEnvironment> service(std::in_place, pin_variables_,
                                                          environment_);
    NewFile conf(conf_, openssl_conf_text(ours), 0644);
    const greengrass::Check check(text, file_, conf.temporary());
    if (!check.is_good()) return check.refuse(invocation_.out());
    NewFile config(file_, text, 0644);
    service.reset();
    place(conf, conf_, existing);
    place(config, file_, existing);
    tell(check);
    return kGood;
  }

 private:
  greengrass::Lite lite() {
    return {
        private_key_of(invocation_, device_.key), certificate_of(invocation_, device_.certificate),
        invocation_.has("component-user") ? invocation_.text("component-user") : kComponentUser};
  }

  // The settings that are in force, and where the modules look in this process: none of its
  // variables is there in the services.
  openssl_conf::Ours ours() {
    openssl_conf::Ours ours;
    if (invocation_.section().is_there())
      ours = openssl_conf::settings_from(invocation_.location().path);
    ours.module = openssl_conf::find_module().path;
    environment_ = lost_places(invocation_);
    for (const std::string& assignment : environment_) {
      if (std::ranges::any_of(assignment, is_blank))
        unwritable_.push_back(assignment);
      else
        written_ += (written_.empty() ? "" : " ") + assignment;
    }
    if (const auto set = invocation_.section().get("environment"); set && !written_.empty())
      written_ += " " + *set;
    for (std::string& assignment : core::configured_environment(invocation_.section().lookup()))
      environment_.push_back(std::move(assignment));
    return ours;
  }

  // Greengrass loads the provider of a TPM by its name, tpm2, and unloads it again.
  std::string openssl_conf_text(const openssl_conf::Ours& ours) {
    try {
      const bool is_tpm = open_in_device(invocation_, device_.key).description.backend == "tpm2";
      provider_ = is_tpm ? "tpm2" : "hwid";
    } catch (const Error& error) {
      if (may_want_variables(error.reason))
        Output::note(
            "This was looked at without the variables of this shell, which Greengrass's services "
            "do not have: what a module needs of them goes into openssl.cnf: environment = "
            "NAME=VALUE.");
      throw;
    }
    std::string text = openssl_conf::whole_file(ours, provider_);
    if (written_.empty()) return text;
    // Of a key that is there twice the last one counts.
    openssl_conf::Writer last;
    return text + last.blank().section(ours.section).set("environment", written_).text();
  }

  static void place(NewFile& file, const std::string& path, Existing existing) {
    if (file.place(existing)) return;
    throw Error(Reason::kExists, "file=" + path +
                                     ": somebody made it meanwhile; look at it, and replace it "
                                     "with --force");
  }

  void tell(const greengrass::Check& check) {
    Output& out = invocation_.out();
    out.heading("Greengrass's configuration: written");
    Json document;
    const auto put = [&](const char* name, const std::string& text) {
      out.field(name, text);
      document[name] = text;
    };
    put("file", file_);
    out.field("openssl.cnf", conf_);
    document["openssl_cnf"] = conf_;
    put("thing", device_.thing);
    put("key", key_);
    put("provider", provider_);
    check.tell(out, document);
    if (greengrass::may_part(key_, certificate_))
      Output::note("A renewal with a new key (`hwid renew --new-key`) changes one of key " +
                   printable(without_query(key_)) + " and certificate " + printable(certificate_) +
                   " alone, and Greengrass then does not connect: name key.pem and cert.pem of one "
                   "STATE-DIR/NAME/current, or renew without --new-key.");
    std::string variable = "OPENSSL_CONF=" + core::shell_word(absolute_with_links(conf_));
    for (const std::string& assignment : unwritable_)
      variable += " " + core::shell_word(assignment);
    for (const std::string& name : pin_variables_)
      Output::note("The PIN comes from the variable " + printable(name) +
                   ": the services of Greengrass need it, too.");
    const std::string command =
        "sudo install -D -m 0644 " + core::shell_word(file_) + " /etc/greengrass/config.yaml";
    document["environment"] = variable;
    document["command"] = command;
    out.line("\nGo on with:\n  " + printable(command) + "\nand Environment=" + printable(variable) +
             " in the services of Greengrass. Their user needs to read the module's files, and "
             "that of the PIN.");
    out.document(document);
  }

  Invocation& invocation_;
  const std::string file_, conf_;
  const CoreDevice device_;
  std::string key_, certificate_;  // as they stand in config.yaml
  std::string provider_;
  std::vector<std::string> environment_;    // of the services, as the modules need it
  std::string written_;                     // of that: `environment`, where it is not as it was
  std::vector<std::string> unwritable_;     // of that: no openssl.cnf holds a value with a blank
  std::vector<std::string> pin_variables_;  // names
};

Exit run(Invocation& invocation) { return Writing(invocation).run(); }

}  // namespace

const Command kGreengrassLite = {
    "greengrass lite",
    "[--config FILE] [--out FILE] [OPTION...]",
    "config.yaml and openssl.cnf of Nucleus Lite",
    "Writes what Nucleus Lite reads: config.yaml, with the key as each of its releases opens it "
    "and "
    "no PIN,\n"
    "and an openssl.cnf with the settings for hwid of the one that is in force (--openssl-conf). A "
    "key in\n"
    "a TPM is served under the provider's name that Greengrass asks for, tpm2. Then all is looked "
    "at\n"
    "that `hwid doctor --config FILE` looks at but the network; what does not work is not written.",
    "  hwid greengrass lite --config device.conf\n"
    "  hwid greengrass lite --config device.conf --out /etc/greengrass/config.yaml\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
