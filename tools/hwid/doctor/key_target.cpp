#include "tools/hwid/doctor/key_target.h"

#include <openssl/pem.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using core::KeyUri;

// The first block of PEM: its label and content; an empty label where there is none.
struct Block {
  std::string label;
  core::Bytes der;
};

Block first_block(const std::string& text) {
  const core::ErrorMark mark;
  const core::Bio in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!in) throw std::bad_alloc();
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  Block block;
  if (PEM_read_bio(in.get(), &name, &header, &data, &size) != 1) return block;
  block.label = name;
  if (core::is_reference_label(block.label)) block.der.assign(data, data + size);
  OPENSSL_cleanse(data, static_cast<std::size_t>(size));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return block;
}

class Following {
 public:
  explicit Following(Examination& examination) : examination_(examination) {}

  void follow(const std::string& text) {
    if (is_key_uri(text))
      follow_uri(text);
    else
      follow_file(text);
  }

 private:
  void follow_uri(const std::string& text) {
    KeyUri uri = KeyUri::parse(text);
    if (uri.scheme() != KeyUri::Scheme::kName) {
      examination_.key_uri = std::move(uri);
      return;
    }
    const std::string target = examination_.config().resolve(uri.name()).value_or("");
    if (target.empty())
      report_unknown(uri.name());
    else if (names_++ == 0)  // a name leads to no other name
      follow(target);
  }

  void report_unknown(const std::string& name) {
    Values values = examination_.conf_values();
    const std::vector<std::string> known = examination_.invocation().section().below("keys");
    const auto near = openssl_conf::nearest(name, known);
    std::string names;
    for (const std::string& each : known) names.append(names.empty() ? "" : ", ").append(each);
    values["name"] = name;
    values["there"] = names.empty() ? "no name at all" : names;
    values["next"] = near ? "write hwid://" + *near
                          : "write `" + name +
                                " = URI` into the section that `keys` names; `hwid "
                                "list` shows the URIs";
    examination_.add("name-unknown", std::move(values));
  }

  void follow_file(const std::string& file) {
    const std::string shown = without_query(file);
    if (const int error = read_error(file); error != 0) {
      examination_.add("key-file-unreadable",
                       {{"key", shown},
                        {"error", std::strerror(error)},
                        {"owner", error == EACCES ? owner_text(file) : "no owner"},
                        {"user", user_text()}});
      return;
    }
    if (const std::string kind = no_file(file); !kind.empty()) {
      examination_.add("key-file-is-none", {{"key", shown}, {"what", "no key: " + kind}});
      return;
    }
    std::string text = read_file(file);
    const core::Cleansed guard(text);
    const Block block = first_block(text);
    if (core::is_tss2_label(block.label)) {
      examination_.key_uri = KeyUri::parse("tpm2:file=" + core::uri_escape(absolute(file)));
    } else if (core::is_reference_label(block.label)) {
      examination_.key_origin = core::Router::Origin::kReferenceFile;
      if (const auto uri = core::decode_reference(block.der)) follow_uri(*uri);
    } else if (block.label.find("PRIVATE KEY") == std::string::npos) {
      examination_.add(
          "key-file-is-none",
          {{"key", shown}, {"what", block.label.empty() ? "no PEM" : "a " + block.label}});
    }
  }

  Examination& examination_;
  int names_ = 0;
};

// The backend that will answer, as far as the configuration alone tells.
std::string scope_of(const KeyUri& uri, const core::Config& config) {
  const auto serves = [&uri](const core::BackendConfig& backend) {
    if (uri.scheme() == KeyUri::Scheme::kTpm2) return backend.type == "tpm2";
    return uri.token() && !backend.token.empty() && *uri.token() == backend.token;
  };
  const auto found = std::ranges::find_if(config.backends, serves);
  if (found != config.backends.end()) return found->name;
  // The only one of its kind.
  std::vector<std::string> able;
  for (const core::BackendConfig& backend : config.backends) {
    if (backend.type == "pkcs11") able.push_back(backend.name);
  }
  return able.size() == 1 ? able.front() : "";
}

}  // namespace

void follow_key(Examination& examination) {
  if (examination.key.empty()) return;
  try {
    Following(examination)
        .follow(examination.invocation().has("pin-source") && is_key_uri(examination.key)
                    ? examination.invocation().with_pin_source(examination.key)
                    : examination.key);
  } catch (const core::Error& error) {
    examination.add("uri-wrong", {{"error", error.what()}});
    return;
  }
  if (examination.key_uri)
    examination.key_scope = scope_of(*examination.key_uri, examination.config());
}

}  // namespace hwid::tool::doctor
