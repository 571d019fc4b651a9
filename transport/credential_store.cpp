#include "transport/credential_store.h"

#include <fcntl.h>
#include <hwid/transport_error.h>
#include <openssl/pem.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "transport/config_for_cloud.h"
#include "transport/credentials.h"
#include "transport/durable_file.h"
#include "transport/ini_lines.h"
#include "transport/openssl_handles.h"

namespace hwid::transport {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kWhat = "keep credentials";
constexpr const char* kWhatLearned = "keep what was learned";
constexpr const char* kCurrent = "current";
constexpr const char* kKeyFile = "key.pem";
constexpr const char* kCertFile = "cert.pem";
constexpr const char* kLearnedFile = "learned.conf";
constexpr std::string_view kGenerationPrefix = "gen-";
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxLearned = 4096;  // of one value
constexpr mode_t kFileMode = 0644;
constexpr mode_t kWrappedKeyMode = 0600;  // a TPM's own: it is the key, if only in that TPM
constexpr const char* kLearnedHeader =
    "# Written by hwid: what enrolment learned. It is read after device.conf, and wins.\n";

[[noreturn]] void fail(const fs::path& where, int error) {
  throw Error(ErrorKind::environment, kWhat, where.string(), std::strerror(error),
              "check that the state directory may be read and written by this user");
}

// Held until it is closed, also by a killed process. -1 and errno: it could not be opened.
int lock_directory(const fs::path& directory, int operation) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int result = -1;
  while (fd >= 0 && (result = ::flock(fd, operation)) != 0 && errno == EINTR) {
  }
  if (fd < 0 || result == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

std::optional<unsigned> generation_number(std::string_view name) {
  if (name.substr(0, kGenerationPrefix.size()) != kGenerationPrefix) return std::nullopt;
  name.remove_prefix(kGenerationPrefix.size());
  unsigned number = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (failed != std::errc() || end != name.data() + name.size() || number == 0 ||
      name.front() == '0')
    return std::nullopt;
  return number;
}

std::string name_of(unsigned number) {
  return std::string(kGenerationPrefix) + std::to_string(number);
}

bool is_temporary(const fs::path& path) {
  return path.filename().string().rfind(kTemporaryPrefix, 0) == 0;
}

std::vector<fs::path> entries_of(const fs::path& directory) {
  std::error_code failure;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure))
    entries.push_back(entry->path());
  if (failure) fail(directory, failure.value());
  return entries;
}

using Generation = CredentialStore::Generation;

// Throws Error where `current` is something else than a link to one.
std::optional<unsigned> current_in(const fs::path& directory) {
  const fs::path link = directory / kCurrent;
  std::error_code failure;
  const fs::path target = fs::read_symlink(link, failure);
  if (failure == std::errc::no_such_file_or_directory) return std::nullopt;
  const auto number = generation_number(target.string());
  if (failure || !number || !fs::is_directory(directory / target, failure))
    throw Error(ErrorKind::environment, kWhat, link.string(),
                "it is no link to a generation (gen-N) beside it",
                "put it right: ln -sfn gen-N " + link.string() + ", N being one that works");
  return number;
}

std::vector<Generation> generations_in(const fs::path& directory) {
  std::vector<Generation> found;
  for (const fs::path& entry : entries_of(directory)) {
    const auto number = generation_number(entry.filename().string());
    if (!number) continue;
    std::error_code unknown;
    const fs::path cert = entry / kCertFile;
    found.push_back({*number, entry / kKeyFile, fs::exists(cert, unknown) ? cert : fs::path()});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  return found;
}

std::optional<Generation> current_of(const std::vector<Generation>& all,
                                     std::optional<unsigned> current) {
  for (const Generation& generation : all)
    if (current == generation.number) return generation;
  return std::nullopt;
}

std::optional<Generation> candidate_of(const std::vector<Generation>& all,
                                       std::optional<unsigned> current) {
  if (all.empty() || all.back().number <= current.value_or(0)) return std::nullopt;
  return all.back();
}

// The lines of a learned.conf; none where there is no file.
Learned read_learned(const fs::path& file) {
  Learned learned;
  std::ifstream in(file);
  if (!in && errno == ENOENT) return learned;
  if (!in)
    throw Error(ErrorKind::environment, kWhatLearned, file.string(), std::strerror(errno),
                "check its permissions");
  const IniText ini = prepare_ini(in);
  std::istringstream text(ini.text);
  try {
    const auto parsed = po::parse_config_file(text, po::options_description(), true);
    for (const auto& option : parsed.options)
      if (!option.value.empty())
        learned[option.string_key] = restore_ini_value(option.value.front());
  } catch (const po::error&) {
    throw Error(ErrorKind::environment, kWhatLearned, file.string(), "it cannot be read",
                "write lines KEY = VALUE");
  }
  return learned;
}

void check_learned(const Learned& learned) {
  const auto known = DeviceConfig::keys();
  for (const auto& [key, value] : learned) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw Error(ErrorKind::usage, kWhatLearned, key, "device.conf has no such key");
    const bool has_control = std::any_of(value.begin(), value.end(), [](unsigned char c) {
      return c < ' ' || c == 127;  // of one line, and none of what stands in for '#'
    });
    const bool is_padded = !value.empty() && (value.front() == ' ' || value.back() == ' ');
    if (value.size() > kMaxLearned || has_control || is_padded || value.front() == '#' ||
        value.find(" #") != std::string::npos)
      throw Error(ErrorKind::refused, kWhatLearned, key,
                  "the value cannot stand in a line of device.conf",
                  "see what the other side sent; nothing was changed");
  }
}

std::string text_of(const Learned& learned) {
  std::string text = kLearnedHeader;
  for (const auto& [key, value] : learned)
    if (!value.empty()) text.append(key).append(" = ").append(value).append("\n");
  return text;
}

// Of what root writes there the owner could renew and remove nothing.
void refuse_root(const fs::path& state_dir, const fs::path& directory) {
  struct stat its {};
  const bool is_there =
      ::stat(directory.c_str(), &its) == 0 || ::stat(state_dir.c_str(), &its) == 0;
  if (::geteuid() != 0 || !is_there || its.st_uid == 0) return;
  const std::string owner = std::to_string(static_cast<unsigned long>(its.st_uid));
  throw Error(ErrorKind::environment, kWhat, directory.string(),
              "it is for user " + owner + ", who could not renew what root writes there",
              "do this as that user: sudo -u '#" + owner + "' hwid ...");
}

// A PEM file of certificates and nothing else.
void check_certificates(const fs::path& where, const std::string& pem) {
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::size_t certificates = 0;
  while (const X509Ptr certificate{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)})
    ++certificates;
  (void)take_openssl_errors();  // the end of the file is one
  std::size_t blocks = 0;
  for (auto at = pem.find("-----BEGIN "); at != std::string::npos;
       at = pem.find("-----BEGIN ", at + 1))
    ++blocks;
  if (certificates == 0 || blocks != certificates)
    throw Error(ErrorKind::refused, kWhat, where.string(),
                certificates == 0 ? "what was given for it holds no certificate"
                                  : "what was given for it holds more than certificates",
                "give PEM: the key's own certificate, then what signed it");
}

// What another cloud said of the device is of no use to the one that it belongs to now.
Learned merged(Learned before, const Learned& learned) {
  const auto was = before.find("profile");
  const auto is = learned.find("profile");
  if (was != before.end() && is != learned.end() && was->second != is->second)
    for (const char* key : kKeysOfCloud) before.erase(key);
  for (const auto& [key, value] : learned) {
    if (value.empty())
      before.erase(key);
    else
      before[key] = value;
  }
  return before;
}

}  // namespace

void update_learned(const fs::path& state_dir, const Learned& learned) {
  check_learned(learned);
  make_directories_durably(kWhatLearned, state_dir);
  const int lock = lock_directory(state_dir, LOCK_EX);
  if (lock < 0) fail(state_dir, errno);
  try {
    const fs::path file = state_dir / kLearnedFile;
    const Learned before = read_learned(file);
    const Learned all = merged(before, learned);
    if (all != before) write_durably(kWhatLearned, file, text_of(all), kFileMode);
  } catch (...) {
    ::close(lock);
    throw;
  }
  ::close(lock);
}

std::string credential_name(const DeviceConfig& config) {
  std::string key = config.key;
  if (key.rfind("hwid:", 0) == 0) {
    key.erase(0, key.rfind("hwid://", 0) == 0 ? 7 : 5);
    return key.substr(0, key.find('?'));
  }
  const fs::path path = fs::path(key);
  if (config.state_dir.empty() || key.empty() || path.filename() != kKeyFile ||
      path.parent_path().filename() != kCurrent)
    return "device";
  const fs::path directory = path.parent_path().parent_path();
  std::error_code unknown;
  return fs::equivalent(directory.parent_path(), config.state_dir, unknown)
             ? directory.filename().string()
             : "device";
}

bool CredentialStore::is_name(const std::string& name) noexcept {
  return !name.empty() && name.size() <= kMaxName &&
         std::isalnum(static_cast<unsigned char>(name.front())) != 0 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return c < 128 && (std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.');
         });
}

CredentialStore::CredentialStore(const fs::path& state_dir, const std::string& name)
    : state_dir_(fs::absolute(state_dir)), directory_(state_dir_ / name) {
  if (!is_name(name))
    throw Error(ErrorKind::usage, kWhat, name,
                "a name has 1 to 64 of a-z A-Z 0-9 _ - . and begins with a letter or digit",
                "use another name");
  refuse_root(state_dir_, directory_);
  make_directories_durably(kWhat, directory_);
  lock_ = lock_directory(directory_, LOCK_EX | LOCK_NB);
  if (lock_ < 0 && errno == EWOULDBLOCK)
    throw Error(ErrorKind::environment, kWhat, directory_.string(),
                "another process is changing these credentials",
                "wait until it has ended, or see what it is with: fuser -v " + directory_.string());
  if (lock_ < 0) fail(directory_, errno);
  try {
    remove_leftovers();
    publish_learned();
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

CredentialStore::~CredentialStore() { ::close(lock_); }

fs::path CredentialStore::path_of(unsigned number) const { return directory_ / name_of(number); }

fs::path CredentialStore::existing(unsigned number) const {
  fs::path path = path_of(number);
  std::error_code unknown;
  if (!fs::is_directory(path, unknown))
    throw Error(ErrorKind::usage, kWhat, path.string(), "there is no such generation");
  return path;
}

std::optional<unsigned> CredentialStore::current_number() const { return current_in(directory_); }

// What cannot be removed is in nobody's way: who needs its place says why that is not free.
void CredentialStore::remove_leftovers() const {
  std::error_code ignored;
  for (const fs::path& entry : entries_of(directory_)) {
    if (is_temporary(entry)) {
      fs::remove_all(entry, ignored);
    } else if (generation_number(entry.filename().string())) {
      for (const fs::path& file : entries_of(entry))
        if (is_temporary(file)) fs::remove(file, ignored);
    }
  }
}

// Programs read one learned.conf: that of another name's pair is not ours to change.
bool CredentialStore::is_published() const {
  const Learned learned = read_learned(state_dir_ / kLearnedFile);
  const auto key = learned.find("key");
  if (key == learned.end() || key->second == current_key()) return true;
  const fs::path its = key->second;
  const bool is_of_store = its.filename() == kKeyFile && its.parent_path().filename() == kCurrent &&
                           its.parent_path().parent_path().parent_path() == state_dir_;
  std::error_code unknown;
  return !is_of_store || !fs::exists(its, unknown);
}

void CredentialStore::publish_learned() const {
  const auto number = current_number();
  if (!number) return;
  const fs::path pending = path_of(*number) / kLearnedFile;
  if (!is_published()) return;
  Learned learned = read_learned(pending);
  learned["cert"] = current_cert().string();
  learned["key"] = current_key().string();
  update_learned(state_dir_, learned);
  if (::unlink(pending.c_str()) == 0)
    sync_directory(kWhat, path_of(*number));  // it must not come again over what is learned later
  else if (errno != ENOENT)
    fail(pending, errno);
}

std::vector<CredentialStore::Generation> CredentialStore::generations() const {
  return generations_in(directory_);
}

std::optional<CredentialStore::Generation> CredentialStore::current() const {
  return current_of(generations(), current_number());
}

std::optional<CredentialStore::Generation> CredentialStore::candidate() const {
  return candidate_of(generations(), current_number());
}

CredentialStore::View CredentialStore::look_at(const fs::path& state_dir, const std::string& name) {
  const fs::path directory = fs::absolute(state_dir) / name;
  std::error_code unknown;
  if (!fs::is_directory(directory, unknown)) return {};
  const auto all = generations_in(directory);
  const auto current = current_in(directory);
  return {current_of(all, current), candidate_of(all, current)};
}

unsigned CredentialStore::next_number() const {
  const auto all = generations();
  return all.empty() ? 1 : all.back().number + 1;
}

CredentialStore::Generation CredentialStore::begin(const std::string& key_reference) {
  const unsigned number = next_number();
  const fs::path made = path_of(number);
  if (!is_key_reference(key_reference))
    throw Error(ErrorKind::refused, kWhat, (made / kKeyFile).string(),
                "this is a software key, its PEM form would hold the key itself",
                "use a key in hardware");
  const bool is_wrapped = key_reference.rfind("-----BEGIN TSS2 PRIVATE KEY-----", 0) == 0;
  const fs::path temporary = directory_ / (std::string(kTemporaryPrefix) + name_of(number));
  make_directories_durably(kWhat, temporary);
  write_durably(kWhat, temporary / kKeyFile, key_reference,
                is_wrapped ? kWrappedKeyMode : kFileMode);
  rename_durably(kWhat, temporary, made);
  return {number, made / kKeyFile, {}};
}

void CredentialStore::keep_certificate(unsigned number, const std::string& pem) {
  const fs::path file = existing(number) / kCertFile;
  if (current_number() == number)
    throw Error(ErrorKind::usage, kWhat, file.string(), "it is in use", "begin a new generation");
  check_certificates(file, pem);
  write_durably(kWhat, file, pem, kFileMode);
}

void CredentialStore::keep_learned(unsigned number, const Learned& learned) {
  check_learned(learned);
  write_durably(kWhat, existing(number) / kLearnedFile, text_of(learned), kFileMode);
  if (current_number() == number) publish_learned();
}

Learned CredentialStore::learned_with(unsigned number) const {
  return read_learned(existing(number) / kLearnedFile);
}

void CredentialStore::make_current(unsigned number) {
  const fs::path generation = existing(number);
  std::error_code unknown;
  if (!fs::exists(generation / kCertFile, unknown))
    throw Error(ErrorKind::usage, kWhat, generation.string(), "it has no certificate yet");
  const fs::path temporary = directory_ / (std::string(kTemporaryPrefix) + kCurrent);
  (void)::unlink(temporary.c_str());
  if (::symlink(name_of(number).c_str(), temporary.c_str()) != 0) fail(temporary, errno);
  rename_durably(kWhat, temporary, directory_ / kCurrent);
  publish_learned();
}

void CredentialStore::remove(unsigned number) {
  const fs::path generation = existing(number);
  if (current_number() == number)
    throw Error(ErrorKind::usage, kWhat, generation.string(), "it is in use",
                "make another one current first");
  const fs::path temporary = directory_ / (std::string(kTemporaryPrefix) + name_of(number));
  rename_durably(kWhat, generation, temporary);
  std::error_code failure;
  fs::remove_all(temporary, failure);
  if (failure) fail(temporary, failure.value());
}

}  // namespace hwid::transport
