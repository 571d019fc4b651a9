#include "tests/module/sessions.h"

#include <chrono>
#include <thread>

namespace hwid::test {

bool Sessions::reserve(std::size_t limit) noexcept {
  if (open_.fetch_add(1) < limit) return true;
  open_.fetch_sub(1);
  return false;
}

void Sessions::opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot) noexcept {
  for (Place& place : places_) {
    CK_SESSION_HANDLE none = 0;
    if (!place.session.compare_exchange_strong(none, session)) continue;
    place.slot = slot;
    place.busy = false;
    return;
  }
}

Sessions::Place* Sessions::find(CK_SESSION_HANDLE session) noexcept {
  if (session == 0) return nullptr;
  for (Place& place : places_) {
    if (place.session.load() == session) return &place;
  }
  return nullptr;
}

void Sessions::release(Place& place) noexcept {
  if (place.session.exchange(0) != 0) open_.fetch_sub(1);
}

void Sessions::closed(CK_SESSION_HANDLE session) noexcept {
  if (Place* place = find(session)) release(*place);
}

void Sessions::closed_slot(CK_SLOT_ID slot) noexcept {
  for (Place& place : places_) {
    if (place.session.load() != 0 && place.slot.load() == slot) release(place);
  }
}

void Sessions::closed_all() noexcept {
  for (Place& place : places_) release(place);
}

std::vector<CK_SESSION_HANDLE> Sessions::all() const {
  std::vector<CK_SESSION_HANDLE> found;
  for (const Place& place : places_) {
    if (const CK_SESSION_HANDLE session = place.session.load(); session != 0)
      found.push_back(session);
  }
  return found;
}

Sessions::Use Sessions::enter(CK_SESSION_HANDLE session) noexcept {
  Place* const place = find(session);
  if (place == nullptr) return Use::kUnknown;
  return place->busy.exchange(true) ? Use::kBusy : Use::kFree;
}

void Sessions::leave(CK_SESSION_HANDLE session) noexcept {
  if (Place* place = find(session)) place->busy = false;
}

void Sessions::leave_all() noexcept {
  for (Place& place : places_) place.busy = false;
  for (std::atomic<bool>& taken : turns_) taken = false;
}

Sessions::Turn::Turn(Sessions& sessions, CK_SESSION_HANDLE session) noexcept
    : taken_(sessions.turns_[session % kCapacity]) {
  while (taken_.exchange(true)) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

Sessions::Turn::~Turn() { taken_ = false; }

}  // namespace hwid::test
