// Where a subcommand's product goes: the standard output, or the file that --out names.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "tools/hwid/command.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

void add_delivery_options(po::options_description& options);  // --out and --force

// Throws kExists, kNotPermitted or UsageError where --out cannot be written: to be called before a
// token works. UsageError also where it is one of the files `needed`, which --force must not
// destroy.
void check_delivery(Invocation& invocation, const std::vector<std::string>& needed = {});

// Throws UsageError where `path`, which `option` names, is one of the files `needed`.
void require_not_needed(const char* option, const std::string& path,
                        const std::vector<std::string>& needed);

// What was made, and what a person or program may want to know of it.
struct Product {
  std::string content;  // as it goes into the file
  const char* key;      // of the content in JSON: "pem", "der"
  std::string title;    // heading above the facts, where the content goes into a file
  std::vector<std::pair<std::string, Json>> facts;  // shown in both forms; keys as in JSON
  mode_t mode = 0644;                               // of the file
  bool binary = false;                              // in JSON as base64
};
// To the file, or to the standard output: when it returns, it is there. Throws kNotPermitted where
// it is not.
void deliver(Invocation& invocation, const Product& product);

// For who has something to undo where deliver() throws: that the standard output's reader is gone
// ends this process no more, and is such an error.
void outlive_reader() noexcept;

// The name of a fact for people: "not after" of "not_after".
std::string label_of(std::string key);
// A fact for people: a text, or the texts of an array with commas between.
std::string fact_text(const Json& value);

}  // namespace hwid::tool
