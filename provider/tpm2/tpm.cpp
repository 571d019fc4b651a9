#include "provider/tpm2/tpm.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace hwid::tpm2 {

using core::Bytes;
using core::Error;
using core::Reason;
using core::Secret;

std::shared_ptr<Tpm> Tpm::get(TpmSetup setup) {
  // What one user wants hidden another must not send in clear, or trust to another key.
  std::string name = "tpm2:" + setup.tcti;
  if (setup.in_clear) name += "#clear";
  if (!setup.salt_key.name.empty())
    name += "#" + hex(setup.salt_key.handle) + core::to_hex(setup.salt_key.name);
  return core::Process::get().shared<Tpm>(name,
                                          [&] { return std::make_shared<Tpm>(std::move(setup)); });
}

Tpm::Tpm(TpmSetup setup) : setup_(std::move(setup)) {}

namespace {

// The number of the device that is open at `descriptor`; 0 if it is none.
std::uint64_t device_at(int descriptor) noexcept {
  struct stat status {};
  if (descriptor < 0 || fstat(descriptor, &status) != 0 || !S_ISCHR(status.st_mode)) return 0;
  return status.st_rdev;
}

}  // namespace

// The parent's device is closed here, or its resource manager would keep what the parent loaded
// until we end, too. Looked at first: the program may have closed it, and opened another file.
Tpm::State::State(const State* inherited)
    : used_dbus(inherited != nullptr && inherited->used_dbus),
      found(inherited != nullptr ? inherited->found.load() : nullptr),
      is_cut_off(used_dbus) {
  if (inherited == nullptr) return;
  // Taken, as several threads of the child may make this State at once.
  const int descriptor = inherited->device.exchange(-1, std::memory_order_acq_rel);
  const std::uint64_t number = inherited->device_number.load(std::memory_order_acquire);
  if (number != 0 && device_at(descriptor) == number) ::close(descriptor);
}

void Tpm::open(State& state) {
  if (core::Process::get().exiting())
    throw Error(Reason::kExiting, "Tss2_Tcti_Transmit:" + place_text(place()) +
                                      ": the process is exiting; use keys before main returns");
  if (state.link) return;
  const std::string tcti =
      state.is_cut_off ? tcti_without_dbus(setup_.tcti, state.found) : setup_.tcti;
  if (uses_dbus(tcti)) state.used_dbus = true;  // also where nobody answers
  state.link.emplace(setup_.open(tcti), setup_, generations_);
  if (uses_dbus(tcti)) state.used_dbus = true;  // of the default it is known now
  const int descriptor = state.link->connection.descriptor();
  if (const char* const found = found_by_default(tcti, descriptor)) state.found = found;
  state.device_number.store(device_at(descriptor), std::memory_order_release);
  state.device.store(descriptor, std::memory_order_release);
  if (state.released_at_exit) return;
  state.released_at_exit = true;
  core::Process::get().on_exit(shared_from_this(), &Tpm::release_at_exit);
}

void Tpm::close(State& state) noexcept {
  state.device.store(-1, std::memory_order_release);
  state.device_number.store(0, std::memory_order_release);
  state.link.reset();
}

void Tpm::release(State& state) noexcept {
  if (!state.link) return;
  const Place place = this->place();
  Commands commands(state.link->connection, place);
  state.link->residency.release(commands);
}

void Tpm::quiesce() noexcept {
  State& state = state_.get();
  const std::lock_guard lock(state.mutex);
  release(state);
  close(state);
}

// Runs in the process that opened the connection. Other threads may still be inside, or stopped
// there for good.
void Tpm::release_at_exit(core::ProcessObject& object) noexcept {
  constexpr std::chrono::seconds kPatience{1};
  auto& tpm = static_cast<Tpm&>(object);
  State& state = tpm.state_.get();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(state.mutex, std::try_to_lock);
  while (!lock.owns_lock() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    (void)lock.try_lock();
  }
  if (lock.owns_lock()) tpm.release(state);
}

void Tpm::with_connection(const Caller& caller, const std::string& object,
                          const std::function<void(Work&)>& body) {
  State& state = state_.get();
  const Place place = this->place(object);
  for (Attempts attempts;;) {
    Milliseconds pause{0};
    std::string healed;
    {
      const std::lock_guard lock(state.mutex);
      const bool is_new = !state.link;
      open(state);
      if (is_new) HWID_LOG(caller.log, kDebug, "TPM:" + place_text(place) + ": connected");
      try {
        Commands commands(state.link->connection, caller.crypto, place);
        Residency& residency = state.link->residency;
        const std::uint64_t before = residency.generation();
        Work work{commands, residency, state.link->generation};
        body(work);
        if (residency.generation() != before && residency.generation() != 0)
          HWID_LOG(caller.log, kDebug, "TPM2_Load:" + place_text(place) + ": the key is loaded");
        return;
      } catch (const TpmError& error) {
        pause = heal(state, caller, place, error, attempts);
        healed = error.what();
      }
    }
    HWID_LOG(caller.log, kInfo, "trying once more: " + healed);
    std::this_thread::sleep_for(pause);
  }
}

void Tpm::with_object(const Caller& caller, const std::string& object, const KeyRef& key,
                      const Secret* parent_value, const ObjectBody& body) {
  Subject parent = subject(key.blob ? key.blob->parent.handle : 0, parent_value);
  core::RefusedPins& refused = core::Process::get().refused_pins();
  const Bytes fingerprint = refused.fingerprint(parent.identity, trimmed(parent_value));
  std::optional<core::RefusedPins::Try> one_at_a_time;
  if (key.blob && !was_accepted(fingerprint)) {
    one_at_a_time.emplace(refused, "tpm2:" + setup_.tcti);
    check_not_refused(parent, place(object));
  }
  with_connection(caller, object, [&](Work& work) {
    Residency::Ready ready;
    try {
      ready = work.residency.prepare(work.commands, key, {nullptr, parent_value});
    } catch (const TpmError& error) {
      parent.entity.name = work.residency.known_name(parent.entity.handle);
      set_accepted(fingerprint, false);  // it may have another value since
      examine_refusal(work, error, parent);
      throw;
    }
    body(work.commands, ready.key);
  });
  if (one_at_a_time) set_accepted(fingerprint, true);
}

namespace {

bool is_stale_handle(TSS2_RC code) noexcept {
  return code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_H6;
}

bool is_stale_session(TSS2_RC code) noexcept {
  return code >= TPM2_RC_REFERENCE_S0 && code <= TPM2_RC_REFERENCE_S6;
}

// Once each.
void try_once(bool& tried, const TpmError& error) {
  if (std::exchange(tried, true)) throw TpmError(error);
}

}  // namespace

// Makes a repetition possible, and says how long to wait for it; throws `error` where nothing
// helps.
Tpm::Milliseconds Tpm::heal(State& state, const Caller& caller, const Place& place,
                            const TpmError& error, Attempts& attempts) {
  const TSS2_RC code = base_code(error.rc);
  if (is_tcti_error(code)) {
    close(state);
    try_once(attempts.reconnected, error);
    return Milliseconds(0);
  }
  if (code == kMalformedResponse || code == kResponseAuthFailed) {
    release(state);
    close(state);  // whoever is there now is not trusted with what was begun
    throw TpmError(error);
  }
  if (is_stale_handle(code)) {
    state.link->residency.forget_key();
    try_once(attempts.reloaded, error);
    return Milliseconds(0);
  }
  if (is_stale_session(code)) {
    state.link->residency.forget_session();
    try_once(attempts.restarted, error);
    return Milliseconds(0);
  }
  switch (code) {
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_OBJECT_HANDLES:
    case TPM2_RC_MEMORY:
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_SESSION_HANDLES:
    case TPM2_RC_CONTEXT_GAP:
      return make_room(state, caller, place, error, attempts);
    case TPM2_RC_PCR_CHANGED:  // between a policy and the command that it is for
      try_once(attempts.pcrs_changed, error);
      return Milliseconds(0);
    default:
      throw TpmError(error);
  }
}

Tpm::Milliseconds Tpm::make_room(State& state, const Caller& caller, const Place& place,
                                 const TpmError& error, Attempts& attempts) {
  constexpr std::chrono::seconds kPatience{2};
  const TSS2_RC code = base_code(error.rc);
  const bool objects =
      code == TPM2_RC_OBJECT_MEMORY || code == TPM2_RC_OBJECT_HANDLES || code == TPM2_RC_MEMORY;
  Commands commands(state.link->connection, caller.crypto, place);
  Residency& residency = state.link->residency;
  if (objects && !std::exchange(attempts.evicted, true) && residency.evict(commands))
    return Milliseconds(0);
  const char* const found = state.found;
  const bool is_alone = setup_.exclusive || is_exclusive(found != nullptr ? found : setup_.tcti);
  if (is_alone && !std::exchange(attempts.flushed, true)) {
    flush_foreign(commands, residency, objects);
    return Milliseconds(0);
  }
  const auto now = std::chrono::steady_clock::now();
  if (attempts.pause.count() == 0) attempts.waiting_since = now;
  if (attempts.flushed || now - attempts.waiting_since >= kPatience)
    raise_no_room(commands, residency, error, objects);
  attempts.pause = std::clamp(attempts.pause * 2, Milliseconds(5), Milliseconds(250));
  return attempts.pause;
}

void Tpm::flush_foreign(Commands& commands, const Residency& residency, bool objects) const {
  std::vector<TPM2_HANDLE> all =
      commands.handles(objects ? TPM2_TRANSIENT_FIRST : TPM2_LOADED_SESSION_FIRST);
  // A resource manager's clients have theirs saved; it may be open beside /dev/tpm0.
  if (!objects && setup_.exclusive) {
    const std::vector<TPM2_HANDLE> saved = commands.handles(TPM2_ACTIVE_SESSION_FIRST);
    all.insert(all.end(), saved.begin(), saved.end());
  }
  for (const TPM2_HANDLE handle : all) {
    if (!residency.owns(handle)) commands.flush_if_there(handle);
  }
}

void Tpm::raise_no_room(Commands& commands, const Residency& residency, const TpmError& error,
                        bool objects) const {
  std::string list;
  for (const TPM2_HANDLE handle :
       commands.handles(objects ? TPM2_TRANSIENT_FIRST : TPM2_LOADED_SESSION_FIRST)) {
    if (!residency.owns(handle)) list += " " + hex(handle);
  }
  const std::string with = setup_.tcti.empty() ? "" : " -T " + setup_.tcti;
  raise(error.reason, error.rc, error.call, commands.place(),
        "other programs hold" + (list.empty() ? " it all" : list) +
            "; if they are dead: tpm2_flushcontext" + with + (objects ? " -t" : " -l -s") +
            "; or use a resource manager (device:/dev/tpmrm0)",
        error.where);
}

void Tpm::distrust(std::uint64_t generation) {
  State& state = state_.get();
  const std::lock_guard lock(state.mutex);
  if (!state.link) return;
  if (state.link->generation == generation) {
    release(state);
    close(state);
  } else if (state.link->residency.generation() == generation) {
    state.link->residency.forget_key();
  }
}

// Without a session the TPM does not compare names.
Bytes Tpm::name_at(const Caller& caller, const KeyRef& key, std::uint64_t generation) {
  Bytes name;
  with_connection(caller, key.label, [&](Work& work) {
    const bool is_loaded = key.blob && work.residency.generation() == generation;
    const TPM2_HANDLE handle = is_loaded ? work.residency.loaded() : key.persistent;
    if (handle != 0) name = work.commands.read_public(handle).name;
  });
  return name;
}

PublicObject Tpm::read_public(const Caller& caller, TPM2_HANDLE handle) {
  PublicObject object;
  with_connection(caller, hex(handle),
                  [&](Work& work) { object = work.commands.read_public(handle); });
  return object;
}

Secret Tpm::random(const Caller& caller, std::size_t size, bool protect) {
  Secret bytes;
  with_connection(caller, {}, [&](Work& work) {
    AuthSession* const session =
        protect ? &work.residency.session(work.commands, nullptr) : nullptr;
    bytes = work.commands.get_random(size, session);
  });
  return bytes;
}

std::vector<PcrValue> Tpm::pcr_read(const Caller& caller, const TPML_PCR_SELECTION& pcrs) {
  std::vector<PcrValue> values;
  with_connection(caller, {}, [&](Work& work) {
    try {
      values = work.commands.pcr_read(pcrs);
    } catch (const TpmError& error) {
      if (base_code(error.rc) != TPM2_RC_HASH) throw;  // of a bank that the TPM cannot have
    }
  });
  if (values.size() != selected_pcrs(pcrs))
    throw Error(Reason::kUnsupported, "TPM2_PCR_Read:" + place_text(place()) +
                                          ": this TPM has not all of " + pcrs_text(pcrs) +
                                          "; see `tpm2_pcrread` for its banks and PCRs");
  return values;
}

std::vector<TPM2_HANDLE> Tpm::handles(const Caller& caller, TPM2_HANDLE first) {
  std::vector<TPM2_HANDLE> all;
  with_connection(caller, {}, [&](Work& work) { all = work.commands.handles(first); });
  return all;
}

}  // namespace hwid::tpm2
