// Where temporary credentials wait for the next run: the kernel's memory, or a file if asked.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace hwid::tool::aws {

// A text that is as secret as a password. All of it is best effort: what cannot be kept is asked
// for again. One thread.
class CredentialCache {
 public:
  virtual ~CredentialCache() = default;
  // The caller cleanses it.
  virtual std::optional<std::string> load() = 0;
  virtual void keep(const std::string& text, std::chrono::seconds time) = 0;
};

// A key of the user's keyring (keyrings(7)): in the kernel's memory, for this user's processes,
// gone after `time`. Where the kernel has none, as in many containers, nothing is kept.
class KeyringCache final : public CredentialCache {
 public:
  explicit KeyringCache(std::string name) : name_(std::move(name)) {}
  std::optional<std::string> load() override;
  void keep(const std::string& text, std::chrono::seconds time) override;

 private:
  const std::string name_;
};

// A file for this user alone; one that others may read, or that is another's, counts as empty, and
// so does one that was kept under another `name`, which is its first line. keep() throws
// core::Error where it cannot be written: the user asked for it.
class FileCache final : public CredentialCache {
 public:
  FileCache(std::string path, std::string name) : path_(std::move(path)), name_(std::move(name)) {}
  std::optional<std::string> load() override;
  void keep(const std::string& text, std::chrono::seconds time) override;

 private:
  const std::string path_, name_;
};

}  // namespace hwid::tool::aws
