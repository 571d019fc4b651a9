// What router.h keeps to itself.
#pragma once

#include <exception>

#include "provider/core/router.h"

namespace hwid::core {

// Configuration and backends, made when the first URI arrives.
struct Router::Setup {
  Config config;
  std::vector<std::unique_ptr<Backend>> backends;
};

// What a search found, and where.
struct Router::Found {
  std::vector<Object> objects;
  const Backend* backend = nullptr;
  Standing standing = Standing::kEqual;  // of the token
};

struct Router::Cache {
  explicit Cache(const Cache*) {}
  std::mutex mutex;
  std::map<std::string, Found> entries;  // holds no key open
};

// What one search has met so far.
struct Router::Search {
  Found found;
  std::vector<std::shared_ptr<Token>> tokens;  // that match the URI
  std::vector<std::string> seen;               // what else is there
  std::vector<std::string> unasked;            // what would name the tokens that got no PIN
  std::exception_ptr failure;                  // the first
};

// The PIN that came with a URI. Borrowed from it.
struct Router::Pins {
  Pins(const KeyUri& uri, Origin from) : origin(from) {
    if (uri.pin_value()) value = &*uri.pin_value();
    if (uri.pin_source()) source = &*uri.pin_source();
    if (uri.parent_pin_source()) parent_source = &*uri.parent_pin_source();
  }
  explicit Pins(Origin from) : origin(from) {}
  bool none() const noexcept { return value == nullptr && source == nullptr; }

  const Secret* value = nullptr;
  const std::string* source = nullptr;
  const std::string* parent_source = nullptr;
  Origin origin;
};

// What may choose one of several tokens that match.
enum class Router::Choice {
  kUri,            // nothing else
  kConfiguration,  // Standing::kMeant, too
  kFirstTpm,       // and of TPMs the first will do
};

// The one token that a URI means, and whose it is.
struct Router::OneToken {
  Backend* backend;
  std::shared_ptr<Token> token;
};

}  // namespace hwid::core
