#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cloud/cloud.h"

namespace hwid::stand_in {

// What goes wrong, one line of a file each: "STEP FAULT [ARGUMENT]". STEP is the cloud's name for a
// question (Cloud::step_of), FAULT one of
//   silent          no answer
//   drop            the connection ends, and nothing was done
//   lose            all is done, the connection ends before the answer
//   late MS         the answer comes later
//   twice           and again
//   garbage         no JSON
//   say JSON        this instead, on the answer's topic
//   long BYTES      an answer of that length
//   refuse STATUS   the cloud says no with it
// and "connect-CLIENT refuse": the client of that id is not let in; "connect-CLIENT admit": it is.
// A line is used once, the first that fits; README.md has examples.
class Faults {
 public:
  using Drop = std::function<void(const std::string& client_id)>;

  explicit Faults(std::string file) : file_(std::move(file)) {}  // empty: nothing ever goes wrong

  // Lets `cloud` answer, or what the file says.
  void handle(Cloud& cloud, const Client& client, const Publication& message, const Send& send,
              const Drop& drop);
  bool refuses(const std::string& step) const;
  // Sends what is due.
  void tick(const Send& send);

 private:
  struct Fault {
    std::string kind;
    std::string argument;
  };
  struct Late {
    std::chrono::steady_clock::time_point when;
    std::string client_id, topic, payload;
  };
  std::optional<Fault> take(const std::string& step) const;
  Send changed(const Fault& fault, const Send& send);

  const std::string file_;
  std::vector<Late> late_;
};

}  // namespace hwid::stand_in
