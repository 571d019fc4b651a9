// hwid greengrass lite: config.yaml and openssl.cnf of Nucleus Lite.
#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/greengrass/check.h"
#include "tools/hwid/greengrass/core_device.h"
#include "tools/hwid/greengrass/document.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/module.h"

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
    NewFile conf(conf_, openssl_conf_text(), 0644);
    const greengrass::Check check(text, file_, conf.temporary());
    if (!check.is_good()) return check.refuse(invocation_.out());
    NewFile config(file_, text, 0644);
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

  // Greengrass loads the provider of a TPM by its name, tpm2, and unloads it again.
  std::string openssl_conf_text() {
    const openssl_conf::Module module = openssl_conf::find_module();
    openssl_conf::Ours ours;
    if (invocation_.section().is_there())
      ours = openssl_conf::settings_from(invocation_.location().path);
    ours.module = module.path;
    const bool is_tpm = open_in_device(invocation_, device_.key).description.backend == "tpm2";
    provider_ = is_tpm ? "tpm2" : "hwid";
    return openssl_conf::whole_file(ours, provider_);
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
    const std::string variable = "OPENSSL_CONF=" + core::shell_word(absolute_with_links(conf_));
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
