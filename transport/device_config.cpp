#include <hwid/device_config.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "transport/cloud/renewal_time.h"
#include "transport/config_for_cloud.h"
#include "transport/ini_lines.h"

namespace hwid::transport {

namespace {

namespace po = boost::program_options;

// Setters throw this; the reader adds file, line and key.
struct BadValue {
  std::string expected;
};

template <typename Number>
Number number(const std::string& text, Number least, Number most) {
  Number value{};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < least || value > most)
    throw BadValue{"a number from " + std::to_string(least) + " to " + std::to_string(most)};
  return value;
}

bool yes_or_no(const std::string& text) {
  if (text == "yes" || text == "true" || text == "1") return true;
  if (text == "no" || text == "false" || text == "0") return false;
  throw BadValue{"yes or no"};
}

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> items;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) {
    const auto first = item.find_first_not_of(" \t");
    if (first == std::string::npos) throw BadValue{"names separated by commas"};
    items.push_back(item.substr(first, item.find_last_not_of(" \t") - first + 1));
  }
  return items;
}

Profile profile(const std::string& text) {
  if (text == "generic" || text == "plain") return Profile::generic;
  if (text == "aws") return Profile::aws;
  if (text == "azure") return Profile::azure;
  throw BadValue{"generic, aws or azure"};
}

MqttVersion mqtt_version(const std::string& text) {
  if (text == "3.1.1") return MqttVersion::v3_1_1;
  if (text == "5") return MqttVersion::v5;
  throw BadValue{"3.1.1 or 5"};
}

TlsVersion tls_version(const std::string& text) {
  if (text == "1.2") return TlsVersion::v1_2;
  if (text == "1.3") return TlsVersion::v1_3;
  throw BadValue{"1.2 or 1.3"};
}

std::string one_of(const std::string& text, std::initializer_list<const char*> allowed) {
  std::string expected;
  for (const char* item : allowed) {
    if (text == item) return text;
    expected += (expected.empty() ? "" : ", ") + std::string(item);
  }
  throw BadValue{"one of " + expected};
}

struct Key {
  const char* name;
  void (*set)(DeviceConfig& config, const std::string& value);
};

template <std::string DeviceConfig::*Member>
void set_text(DeviceConfig& config, const std::string& value) {
  config.*Member = value;
}

constexpr std::uint64_t kMax64 = UINT64_MAX;

const Key kKeys[] = {
    {"endpoint", set_text<&DeviceConfig::endpoint>},
    {"client-id", set_text<&DeviceConfig::client_id>},
    {"profile", [](DeviceConfig& c, const std::string& v) { c.profile = profile(v); }},
    {"model-id", set_text<&DeviceConfig::model_id>},
    {"ca-file", set_text<&DeviceConfig::ca_file>},
    {"ca-path", set_text<&DeviceConfig::ca_path>},
    {"cert", set_text<&DeviceConfig::cert>},
    {"key", set_text<&DeviceConfig::key>},
    {"topics.publish", set_text<&DeviceConfig::topics_publish>},
    {"topics.subscribe", set_text<&DeviceConfig::topics_subscribe>},
    {"keep-alive",
     [](DeviceConfig& c, const std::string& v) {
       c.keep_alive = std::chrono::seconds(number(v, 0, 65535));
     }},
    {"clean-session",
     [](DeviceConfig& c, const std::string& v) { c.clean_session = yes_or_no(v); }},
    {"mqtt-version",
     [](DeviceConfig& c, const std::string& v) { c.mqtt_version = mqtt_version(v); }},
    {"qos",
     [](DeviceConfig& c, const std::string& v) { c.qos = static_cast<Qos>(number(v, 0, 2)); }},
    {"will-topic", set_text<&DeviceConfig::will_topic>},
    {"will-message", set_text<&DeviceConfig::will_message>},
    {"alpn", [](DeviceConfig& c, const std::string& v) { c.alpn = comma_list(v); }},
    {"min-tls", [](DeviceConfig& c, const std::string& v) { c.min_tls = tls_version(v); }},
    {"proxy", set_text<&DeviceConfig::proxy>},
    {"crl-file", set_text<&DeviceConfig::crl_file>},
    {"ocsp",
     [](DeviceConfig& c, const std::string& v) {
       c.ocsp = one_of(v, {"no", "staple", "require"});
     }},
    {"ciphers", set_text<&DeviceConfig::ciphers>},
    {"allow-plaintext",
     [](DeviceConfig& c, const std::string& v) { c.allow_plaintext = yes_or_no(v); }},
    {"session-expiry",
     [](DeviceConfig& c, const std::string& v) {
       c.session_expiry = std::chrono::seconds(number<std::uint32_t>(v, 0, UINT32_MAX));
     }},
    {"receive-maximum",
     [](DeviceConfig& c, const std::string& v) {
       c.receive_maximum = number<std::uint16_t>(v, 1, UINT16_MAX);
     }},
    {"spool-dir", set_text<&DeviceConfig::spool_dir>},
    {"spool-max-messages",
     [](DeviceConfig& c, const std::string& v) {
       c.spool_max_messages = number<std::uint64_t>(v, 1, kMax64);
     }},
    {"spool-max-bytes",
     [](DeviceConfig& c, const std::string& v) {
       c.spool_max_bytes = number<std::uint64_t>(v, 1, kMax64);
     }},
    {"spool-full",
     [](DeviceConfig& c, const std::string& v) {
       c.spool_full = one_of(v, {"refuse", "drop-oldest"});
     }},
    {"state-dir", set_text<&DeviceConfig::state_dir>},
    {"thing-name", set_text<&DeviceConfig::thing_name>},
    {"claim-cert", set_text<&DeviceConfig::claim_cert>},
    {"claim-key", set_text<&DeviceConfig::claim_key>},
    {"template-name", set_text<&DeviceConfig::template_name>},
    {"template-parameters", set_text<&DeviceConfig::template_parameters>},
    {"role-alias", set_text<&DeviceConfig::role_alias>},
    {"credentials-endpoint", set_text<&DeviceConfig::credentials_endpoint>},
    {"dps-endpoint", set_text<&DeviceConfig::dps_endpoint>},
    {"id-scope", set_text<&DeviceConfig::id_scope>},
    {"registration-id", set_text<&DeviceConfig::registration_id>},
    {"est-url", set_text<&DeviceConfig::est_url>},
    {"renew-at",
     [](DeviceConfig& c, const std::string& v) {
       if (!parse_renew_at(v))
         throw BadValue{"a share of the lifetime (50%), or a time before its end (30d, 36h, 90m)"};
       c.renew_at = v;
     }},
};

const po::options_description& known_options() {
  static const auto* const options = [] {
    auto* made = new po::options_description;
    for (const auto& key : kKeys) made->add_options()(key.name, po::value<std::string>());
    return made;
  }();
  return *options;
}

// One file, parsed: values by key, and where they stand.
struct ParsedFile {
  std::string path;
  po::variables_map values;
  std::map<std::string, int> lines;

  std::string place(const std::string& key) const {
    const auto line = lines.find(key);
    return path + (line == lines.end() ? "" : ":" + std::to_string(line->second));
  }
};

// The word that `text` begins with, where it may be shown: a misplaced URL or PIN may stand there.
std::string shown_word(const std::string& text) {
  const std::string word = text.substr(0, text.find_first_of(" \t"));
  const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  });
  return plain ? word : "";
}

[[noreturn]] void refuse_line(const std::string& place, const std::string& why,
                              const std::string& next_step) {
  throw Error(ErrorKind::environment, "read configuration", place, why, next_step);
}

ParsedFile parse(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in)
    throw Error(ErrorKind::environment, "read configuration", file.string(), std::strerror(errno),
                "check the path and its permissions");
  IniText ini = prepare_ini(in);
  if (in.bad())
    throw Error(ErrorKind::environment, "read configuration", file.string(), std::strerror(errno));
  const auto key_of = [](const std::string& name) {
    const std::string word = shown_word(name);
    return word.empty() ? std::string("its key") : "the key '" + word + "'";
  };
  ParsedFile parsed{file.string(), {}, std::move(ini.lines)};
  if (ini.bad_line != 0) {
    const std::string first = shown_word(ini.bad_text);
    const auto keys = DeviceConfig::keys();
    const bool is_key = std::find(keys.begin(), keys.end(), first) != keys.end();
    const std::string word = is_key ? first : std::string();  // else it may be a PIN
    refuse_line(parsed.path + ":" + std::to_string(ini.bad_line),
                "the line " + (word.empty() ? "" : "'" + word + " ...' ") + "has no =",
                "write KEY = VALUE");
  }
  try {
    std::istringstream text(ini.text);
    po::store(po::parse_config_file(text, known_options()), parsed.values);
  } catch (const po::unknown_option& error) {
    refuse_line(parsed.place(error.get_option_name()),
                key_of(error.get_option_name()) + " is not known",
                "correct its spelling or remove it");
  } catch (const po::multiple_occurrences& error) {
    refuse_line(parsed.place(error.get_option_name()),
                key_of(error.get_option_name()) + " is given more than once", "give it once");
  } catch (const po::error&) {  // its text may show a value
    refuse_line(parsed.path, "it cannot be read", "write lines KEY = VALUE");
  }
  return parsed;
}

void set_key(DeviceConfig& config, const Key& key, const std::string& value,
             const std::string& place) {
  if (value.empty()) return;  // `key =` says nothing
  try {
    key.set(config, value);
  } catch (const BadValue& bad) {
    throw Error(ErrorKind::environment, "read configuration", place,
                std::string(key.name) + " = '" + value + "' is wrong", "write " + bad.expected);
  }
}

void apply(const ParsedFile& parsed, DeviceConfig& config) {
  for (const auto& key : kKeys) {
    if (parsed.values.count(key.name) == 0) continue;
    set_key(config, key, restore_ini_value(parsed.values[key.name].as<std::string>()),
            parsed.place(key.name));
  }
}

// Under another profile than that: generic is no cloud's.
void forget_other_cloud(ParsedFile& learned, Profile profile) {
  DeviceConfig said;
  apply(learned, said);
  if (said.profile == Profile::generic || said.profile == profile) return;
  for (const char* key : kKeysOfCloud) learned.values.erase(key);
}

DeviceConfig read_files(const std::filesystem::path& file, std::optional<Profile> profile) {
  DeviceConfig config;
  config.source = file.string();
  apply(parse(file), config);
  if (!config.state_dir.empty()) {
    const auto place = std::filesystem::path(config.state_dir) / "learned.conf";
    std::error_code absent;
    if (std::filesystem::exists(place, absent)) {
      ParsedFile learned = parse(place);
      if (profile) forget_other_cloud(learned, *profile);
      apply(learned, config);
    }
  }
  if (profile) config.profile = *profile;
  return config;
}

}  // namespace

DeviceConfig DeviceConfig::read(const std::filesystem::path& file) {
  return read_files(file, std::nullopt);
}

DeviceConfig read_config_for(const std::filesystem::path& file, Profile profile) {
  return read_files(file, profile);
}

void DeviceConfig::set(const std::string& key, const std::string& value) {
  for (const auto& known : kKeys) {
    if (key == known.name) return set_key(*this, known, value, source);
  }
  throw Error(ErrorKind::usage, "read configuration", key, "there is no such key");
}

std::vector<std::string> DeviceConfig::keys() {
  std::vector<std::string> names;
  for (const auto& key : kKeys) names.emplace_back(key.name);
  return names;
}

}  // namespace hwid::transport
