// hwid enable, hwid disable: hwid in the openssl.cnf that every program reads.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/system_check.h"
#include "tools/hwid/trust.h"
#include "tools/openssl_conf/conf.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

// The file that is changed, and those beside it.
struct Target {
  std::string named;     // as programs name it; may be a link
  std::string file;      // the file itself
  std::string fragment;  // ours, which it includes
  std::string text;      // as it is
  std::string bare;      // without our lines
  bool enabled = false;  // it has our lines
};

void require_changeable(const std::string& file) {
  const std::string directory = std::filesystem::path(file).parent_path();
  for (const std::string& path : {file, directory}) {
    if (::access(path.c_str(), W_OK) == 0) continue;
    const char* const name = strerrorname_np(errno);
    throw Error(Reason::kReadOnly,
                "access: file=" + path + ": " + (name != nullptr ? name : "error") +
                    ": you may not change it; run this as root, or name a file of your own with "
                    "--openssl-conf and let OPENSSL_CONF name that");
  }
}

// A shell with its own file is no reason to leave the system's as it is, nor to change that one.
std::string named_file(Invocation& invocation) {
  std::string option = invocation.text("openssl-conf");
  if (!option.empty()) return option;
  std::string file = openssl_conf::system_default().path;
  const char* const variable = secure_getenv("OPENSSL_CONF");
  if (variable != nullptr && absolute(variable) != absolute(file))
    Output::note("OPENSSL_CONF is set: programs of this shell go on reading " +
                 printable(variable) + ", not " + file +
                 "; to change that one name it with --openssl-conf");
  return file;
}

Target read_target(Invocation& invocation) {
  Target target;
  target.named = named_file(invocation);
  target.file = absolute(target.named);
  target.text = read_file(target.file);
  require_changeable(target.file);
  target.fragment = (std::filesystem::path(target.file).parent_path() / "hwid.cnf").string();
  const std::optional<std::string> bare = openssl_conf::without_include(target.text);
  target.enabled = bare.has_value();
  target.bare = bare.value_or(target.text);
  return target;
}

// What stands beside the file under our name must be ours.
std::optional<std::string> read_fragment(const Target& target) {
  if (!file_exists(target.fragment)) return std::nullopt;
  std::string text = read_file(target.fragment);
  if (!openssl_conf::is_enabling_fragment(text))
    throw Error(Reason::kExists, "open: file=" + target.fragment +
                                     ": EEXIST: it is not from `hwid enable`; move it away, and "
                                     "name it with --from if it is what is to be enabled");
  return text;
}

// Over the file, if it is still what it was. Somebody may have edited it since.
void place_over(NewFile& file, const Target& target, const std::string& expected) {
  if (read_file(target.file) != expected)
    throw Error(Reason::kExists, "rename: file=" + target.file +
                                     ": somebody has changed it meanwhile, and that is kept; "
                                     "look at it, and run this again");
  file.place(Existing::kReplace);
}

void replace(const Target& target, const std::string& expected, const std::string& text) {
  NewFile file(target.file, text, 0600);
  file.take_attributes_of(target.file);
  place_over(file, target, expected);
}

struct Backup {
  std::string path;
  bool is_new;
};

// Never overwritten: an older state takes another number. The one with this text.
Backup back_up(const Target& target) {
  for (int number = 1;; ++number) {
    const std::string path =
        target.file + ".hwid-backup" + (number == 1 ? "" : "." + std::to_string(number));
    if (file_exists(path)) {
      if (read_file(path) == target.text) return {path, false};
      continue;
    }
    NewFile file(path, target.text, 0600);
    file.take_attributes_of(target.file);
    if (file.place(Existing::kRefuse)) return {path, true};
  }
}

// The backups that say no more than the file itself now.
std::vector<std::string> remove_backups(const Target& target) {
  std::vector<std::string> removed;
  for (int number = 1;; ++number) {
    const std::string path =
        target.file + ".hwid-backup" + (number == 1 ? "" : "." + std::to_string(number));
    if (!file_exists(path)) return removed;
    if (read_file(path) == target.bare && ::unlink(path.c_str()) == 0) removed.push_back(path);
  }
}

// In both forms: what is copied is what whoever can write it wanted.
void require_trust(const openssl_conf::Ours& ours, const std::string& from, const Target& target) {
  std::string problem = distrust_configuration(from, target.file);
  if (problem.empty())
    problem =
        distrust_modules(ours.include.empty() ? openssl_conf::load_text(ours.settings, from).get()
                                              : openssl_conf::load_file(from).get(),
                         target.file);
  if (!problem.empty())
    throw Error(Reason::kNotPermitted,
                problem + "copy it to where nobody else writes, such as /etc/hwid");
}

// A trial in a file of one's own may use a build of somebody else's; the system must not.
void require_trusted_module(const std::string& path, const Target& target) {
  const std::string doubt = distrust(path, target.file);
  if (doubt.empty()) return;
  struct stat status {};
  if (::stat(target.file.c_str(), &status) == 0 && status.st_uid != 0)
    Output::note(doubt + "install hwid for more than a trial");
  else
    throw Error(Reason::kNotPermitted, doubt +
                                           "install hwid, or name the directory of a hwid.so "
                                           "that root alone can write with OPENSSL_MODULES");
}

openssl_conf::Ours wanted_settings(Invocation& invocation, const Target& target) {
  const openssl_conf::Module module = openssl_conf::find_module();
  openssl_conf::Ours ours;
  if (invocation.has("from")) {
    const std::string from = absolute(invocation.text("from"));
    ours = openssl_conf::settings_from(from);
    require_trust(ours, from, target);
  }
  if (module.needs_path) {
    ours.module = module.path;
    require_trusted_module(module.path, target);
  }
  return ours;
}

// What an earlier run was given with --from must not go because this one was given nothing.
[[noreturn]] void refuse_to_drop_settings(const Target& target) {
  throw Error(Reason::kExists,
              "open: file=" + target.fragment +
                  ": EEXIST: it has the settings of an earlier `hwid enable --from`, and this run "
                  "has none; name them with --from, or remove that file for the default ones");
}

void note_others(const openssl_conf::Layout& layout) {
  for (const std::string& other : layout.others)
    Output::note("The provider " + other +
                 " is active in that file, too. Where it takes pkcs11: or handle: URIs as well, "
                 "the first in the file answers; hwid:// names are always hwid's.");
}

// What is included is to be readable for all whose programs read openssl.cnf.
void note_unreadable(const std::string& included) {
  if (included.empty()) return;
  struct stat status {};
  const auto lacks = [&status](const std::string& path, mode_t mode) {
    return ::stat(path.c_str(), &status) == 0 && (status.st_mode & mode) == 0;
  };
  std::string closed = lacks(included, S_IROTH) ? included : "";
  for (std::string at = included; closed.empty() && at != "/";) {
    at = parent_of(at);
    if (lacks(at, S_IXOTH)) closed = at;
  }
  if (closed.empty()) return;
  Output::note(included + " is not readable for all users" +
               (closed == included ? "" : " (" + closed + " is closed to them)") +
               ": for the others hwid is loaded without what it says.");
}

Json json_of(const Target& target, bool enabled, bool changed, const std::vector<Check>& checks) {
  Json list = Json::array();
  for (const Check& check : checks) list.push_back(check.what);
  return {{"file", target.file}, {"named", target.named},       {"enabled", enabled},
          {"changed", changed},  {"fragment", target.fragment}, {"checks", list}};
}

void show_checks(Output& out, const std::vector<Check>& checks) {
  std::string names;
  for (const Check& check : checks) names.append(names.empty() ? "" : ", ").append(check.what);
  out.field("checked", names);
}

// Readable for all whatever the umask: a program that may not read it is one without hwid.
void write_fragment(const std::string& path, const std::string& text) {
  require_writable(path, Existing::kReplace);
  NewFile(path, text, 0644).place(Existing::kReplace);
}

// Fragment, backup and file, in that order. All is as it was, whatever stopped it, unless it is
// kept.
class Change {
 public:
  Change(const Target& target, std::optional<std::string> fragment)
      : target_(target), fragment_(std::move(fragment)) {}
  ~Change() {
    if (kept_) return;
    const bool whole = undo([this] {
      if (!text_.empty()) replace(target_, text_, target_.text);
    });
    undo([this] { restore_fragment(); });
    if (whole)
      remove_backup();
    else
      Output::note("openssl.cnf: " + target_.file +
                   ": it could not be restored; as it was it is in " + backup_.path);
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  void prepare(const std::string& fragment) {
    backup_ = back_up(target_);
    fragment_written_ = true;
    write_fragment(target_.fragment, fragment);
  }
  // REQUIRES: prepared.
  void place(NewFile& file, const std::string& text) {
    place_over(file, target_, target_.text);
    text_ = text;
  }
  // The backup's name; empty if there is none of this run: the file had our lines before.
  std::string keep() {
    kept_ = true;
    if (!target_.enabled) return backup_.path;
    remove_backup();
    return "";
  }

 private:
  template <typename Step>
  static bool undo(const Step& step) noexcept {
    try {
      step();
      return true;
    } catch (const std::exception& error) {
      Output::note(error.what());
      return false;
    }
  }
  void restore_fragment() {
    if (!fragment_written_) return;
    if (fragment_)
      write_fragment(target_.fragment, *fragment_);
    else
      ::unlink(target_.fragment.c_str());
  }
  void remove_backup() noexcept {
    if (backup_.is_new) ::unlink(backup_.path.c_str());
  }

  const Target& target_;
  const std::optional<std::string> fragment_;  // as it was
  bool fragment_written_ = false;
  Backup backup_{"", false};
  std::string text_;  // of the file, once it is placed
  bool kept_ = false;
};

// What fails with the file as it is need not be ours.
void require_sound(const Target& target) {
  const NewFile plain(target.file, target.bare, 0600);
  const std::string problem = first_problem(check_system(plain.temporary(), false));
  if (!problem.empty())
    throw Error(Reason::kBadConfiguration, "openssl.cnf: " + target.file +
                                               ": without hwid, too, this fails: " + problem +
                                               "; mend the file first; nothing was changed");
}

std::vector<Check> require_working(const std::string& file, const Target& target) {
  std::vector<Check> checks = check_system(file, true);
  const std::string problem = first_problem(checks);
  if (!problem.empty())
    throw Error(Reason::kBadConfiguration, "openssl.cnf: " + target.file +
                                               ": with hwid this fails: " + problem +
                                               "; the file is as it was");
  return checks;
}

std::vector<Check> put_in(Change& change, const Target& target, const std::string& text) {
  NewFile file(target.file, text, 0600);
  file.take_attributes_of(target.file);
  require_working(file.temporary(), target);
  change.place(file, text);
  return require_working(target.file, target);
}

Exit already(Invocation& invocation, const Target& target, const std::string& how) {
  invocation.out().heading("hwid is enabled already");
  invocation.out().field("file", target.file);
  invocation.out().field("by", how);
  invocation.out().document(json_of(target, true, false, {}));
  return kGood;
}

Exit enable(Invocation& invocation) {
  Target target = read_target(invocation);
  const openssl_conf::Layout layout = openssl_conf::read_layout(target.bare, target.file);
  if (!layout.ours.empty() && layout.ours_active)
    return already(invocation, target, "its own section [" + layout.ours + "]");
  if (!layout.ours.empty())
    throw Error(Reason::kExists, "openssl.cnf: " + target.file + ": [" + layout.ours +
                                     "] is a section for hwid, and not activated; write "
                                     "`activate = 1` into it");
  const std::optional<std::string> before = read_fragment(target);
  if (before && !invocation.has("from") && openssl_conf::has_settings(*before)) {
    if (!target.enabled) refuse_to_drop_settings(target);
    return already(invocation, target,
                   "the fragment " + target.fragment +
                       ", whose settings stay (--from FILE replaces them, `hwid disable` removes "
                       "them)");
  }
  const openssl_conf::Ours ours = wanted_settings(invocation, target);
  const std::string fragment = openssl_conf::enabling_fragment(layout, ours, target.file);
  const std::string text = openssl_conf::with_include(target.bare, target.fragment);
  if (before == fragment && text == target.text)
    return already(invocation, target, "the fragment " + target.fragment);
  require_sound(target);
  std::vector<Check> checks;
  std::string backup;
  {
    Change change(target, before);
    change.prepare(fragment);
    checks = put_in(change, target, text);
    backup = change.keep();
  }
  note_others(layout);
  note_unreadable(ours.include);
  Output& out = invocation.out();
  out.heading("hwid is enabled for every program that reads " + target.named);
  out.field("file", target.file);
  out.field("fragment", target.fragment);
  if (!backup.empty()) out.field("backup", backup);
  if (layout.default_was_implicit())
    out.field("default",
              "its provider is now activated by name: OpenSSL does so by itself only "
              "as long as no other is");
  show_checks(out, checks);
  out.line("\n`hwid disable` takes it back.");
  Json document = json_of(target, true, true, checks);
  document["backup"] = backup.empty() ? Json() : Json(backup);
  document["default_activated"] = layout.default_was_implicit();
  out.document(document);
  return kGood;
}

Exit disable(Invocation& invocation) {
  const Target target = read_target(invocation);
  Output& out = invocation.out();
  if (!target.enabled) {
    out.heading("hwid is not enabled");
    out.field("file", target.file);
    out.document(json_of(target, false, false, {}));
    return kGood;
  }
  replace(target, target.text, target.bare);
  const std::optional<std::string> fragment =
      file_exists(target.fragment) ? std::optional(read_file(target.fragment)) : std::nullopt;
  if (fragment && openssl_conf::is_enabling_fragment(*fragment)) ::unlink(target.fragment.c_str());
  const std::vector<std::string> same = remove_backups(target);
  const std::vector<Check> checks = check_system(target.file, false);
  const std::string problem = first_problem(checks);
  out.heading("hwid is disabled");
  out.field("file", target.file);
  out.field("state", !same.empty() ? "byte for byte what it was before `hwid enable`"
                                   : "our lines are gone; what others changed since is kept, and "
                                     "so is a backup");
  show_checks(out, checks);
  Json document = json_of(target, false, true, checks);
  document["restored"] = !same.empty();
  document["problem"] = problem.empty() ? Json() : Json(problem);
  out.document(document);
  if (problem.empty()) return kGood;
  Output::note("hwid disable: " + target.file + ": without hwid this fails: " + problem);
  return kEnvironment;
}

void add_enable_options(po::options_description& options) {
  options.add_options()(
      "from", po::value<std::string>()->value_name("FILE"),
      "what to enable: a fragment with the section [hwid_sect], which is "
      "included, or a whole openssl.cnf, whose sections for hwid are copied "
      "(default: what an earlier run was given, else p11-kit's modules and the TPM that "
      "tpm2-tss finds)");
}

}  // namespace

const Command kEnable = {
    "enable",
    "",
    "let every OpenSSL program use hwid",
    "Makes the system's openssl.cnf (or that of --openssl-conf) load hwid, whatever OPENSSL_CONF\n"
    "names in this shell: one line at its end\n"
    "includes a fragment beside it, hwid.cnf, which fits in with what the file says of providers.\n"
    "The default provider is activated by name where OpenSSL did so by itself; nothing else of "
    "the\n"
    "file changes its meaning. The file as it was is kept as FILE.hwid-backup. Before and after, "
    "the\n"
    "openssl command and a TLS client and server are tried; if one fails, the file stays as it\n"
    "was. Without --from, settings that an earlier run was given stay.",
    "  hwid enable\n"
    "  hwid enable --from /etc/hwid/openssl.cnf\n"
    "  hwid enable --openssl-conf ./openssl.cnf --from ~/.local/share/hwid/dev/hwid.cnf\n",
    0,
    0,
    add_enable_options,
    enable,
    false};

const Command kDisable = {
    "disable",
    "",
    "take back what hwid enable did",
    "Takes the lines of `hwid enable` out of openssl.cnf, and the fragment with them. A file that\n"
    "nobody else changed is then byte for byte what it was.",
    "  hwid disable\n"
    "  hwid disable --openssl-conf ./openssl.cnf --json\n",
    0,
    0,
    nullptr,
    disable,
    false};

}  // namespace hwid::tool
