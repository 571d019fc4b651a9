#include "tools/hwid/renewal/deactivation.h"

#include <hwid/transport_error.h>

#include <algorithm>

#include "tools/hwid/provision/registration.h"
#include "tools/hwid/renewal/audited_step.h"

namespace hwid::tool::renewal {
namespace {

constexpr const char* kWhat = "forget what was deactivated";

void forget(std::vector<std::string>& all, const std::string& id, const std::string& directory) {
  const auto found = std::ranges::find(all, id);
  if (found == all.end())
    throw transport::Error(transport::ErrorKind::usage, kWhat, directory,
                           "certificate " + id + " is not among those to deactivate",
                           "give an id that hwid status --config FILE tells");
  all.erase(found);
}

// A generation that waits to be removed would have it told again.
void forget_where_unused(const transport::CredentialStore& store, const std::string& id) {
  const auto current = store.current();
  for (const auto& generation : store.generations())
    if (!current || generation.number != current->number)
      provision::forget_certificate(generation.key.parent_path(), id);
}

}  // namespace

void note_to_deactivate(State& state, const std::string& certificate_id) {
  auto& all = state.to_deactivate;
  if (std::ranges::find(all, certificate_id) == all.end()) all.push_back(certificate_id);
}

void remember_to_deactivate(const std::filesystem::path& directory,
                            const std::string& certificate_id) {
  State state = take_state(directory);
  note_to_deactivate(state, certificate_id);
  write_state(directory, state);
}

void note_use(State& state, const transport::CredentialStore::Generation& generation) {
  note_switch(state, generation.number);
  std::erase(state.to_deactivate, provision::certificate_id_in(generation.key.parent_path()));
}

std::vector<std::string> forget_deactivated(Invocation& invocation, const Place& place,
                                            const std::vector<std::string>& certificate_ids) {
  const auto directory = std::filesystem::absolute(place.state_dir) / place.name;
  std::vector<std::string> none;
  if (!has_state(directory)) forget(none, certificate_ids.front(), directory.string());
  const transport::CredentialStore store(place.state_dir, place.name);
  const AuditedStep step(invocation, store, "aws");
  State state = take_state(directory);
  for (const std::string& id : certificate_ids) forget(state.to_deactivate, id, directory.string());
  for (const std::string& id : certificate_ids) forget_where_unused(store, id);
  write_state(directory, state);
  for (const std::string& id : certificate_ids)
    step.record("deactivated certificate " + id, core::audit_field::kOk);
  return state.to_deactivate;
}

}  // namespace hwid::tool::renewal
