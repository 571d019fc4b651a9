#include "tools/hwid/delivery.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "tools/attest/structures.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

// "-" is the standard output, as for other programs.
std::string out_file(const Invocation& invocation) {
  const std::string path = invocation.text("out");
  return path == "-" ? "" : path;
}

Existing existing(const Invocation& invocation) {
  return invocation.flag("force") ? Existing::kReplace : Existing::kRefuseWithoutForce;
}

}  // namespace

void add_delivery_options(po::options_description& options) {
  auto add = options.add_options();
  add("out", po::value<std::string>()->value_name("FILE"),
      "write it to FILE (default: to the standard output)");
  add("force", po::bool_switch(), "replace FILE if it exists");
}

void check_delivery(Invocation& invocation, const std::vector<std::string>& needed) {
  const std::string path = out_file(invocation);
  if (path.empty()) return;
  require_not_needed("out", path, needed);
  require_writable(path, existing(invocation));
}

void require_not_needed(const char* option, const std::string& path,
                        const std::vector<std::string>& needed) {
  std::error_code error;
  for (const std::string& file : needed) {  // which may not be there yet
    if (std::filesystem::equivalent(path, file, error) || absolute(path) == absolute(file))
      throw UsageError(std::string("--")
                           .append(option)
                           .append(": ")
                           .append(path)
                           .append(" is the file ")
                           .append(file)
                           .append(", which is needed; name another"));
  }
}

std::string label_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

std::string fact_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& element : value) text += (text.empty() ? "" : ", ") + fact_text(element);
  return text;
}

void deliver(Invocation& invocation, const Product& product) {
  const std::string path = out_file(invocation);
  if (!path.empty()) write_file(path, product.content, product.mode, existing(invocation));
  Output& out = invocation.out();
  if (out.json()) {
    Json document;
    for (const auto& [key, value] : product.facts) document[key] = value;
    if (!path.empty())
      document["file"] = path;
    else
      document[product.key] =
          product.binary ? attest::base64(core::as_bytes(product.content)) : product.content;
    out.document(document);
    attest::cleanse_text(document[product.key]);  // an answer to a challenge is a secret
  } else if (path.empty()) {
    std::cout << product.content;
  } else {
    out.heading(product.title);
    for (const auto& [key, value] : product.facts) {
      const std::string text = fact_text(value);
      if (!text.empty()) out.field(label_of(key), text);
    }
    out.field("file", path);
  }
  // The facts beside a file are not worth as much: it is there, whoever reads them.
  if (path.empty()) Output::finish();
}

void outlive_reader() noexcept { ::signal(SIGPIPE, SIG_IGN); }

}  // namespace hwid::tool
