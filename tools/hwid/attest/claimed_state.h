// What a verifier keeps of a challenge, for one answer.
#pragma once

#include <string>

namespace hwid::tool::attestation {

// The state's file under a name of this process, so that no other run accepts by it. It gets its
// name back, unless it was used up: the answer may still be accepted. Neither copied nor moved.
class ClaimedState {
 public:
  // `content`: what was read from `path`, and is to be in it still. Throws kNoObject where another
  // run was first, or has put another state there; kNotPermitted.
  ClaimedState(const std::string& path, const std::string& content);
  ~ClaimedState();
  ClaimedState(const ClaimedState&) = delete;
  ClaimedState& operator=(const ClaimedState&) = delete;

  // It has served, and is removed.
  void use_up();

 private:
  void give_back() const;

  std::string path_;     // without symbolic links
  std::string claimed_;  // empty: used up
};

}  // namespace hwid::tool::attestation
