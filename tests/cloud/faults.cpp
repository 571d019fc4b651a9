#include "cloud/faults.h"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace hwid::stand_in {

std::optional<Faults::Fault> Faults::take(const std::string& step) const {
  if (file_.empty() || step.empty()) return std::nullopt;
  std::ifstream in(file_);
  std::optional<Fault> taken;
  std::string rest;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    Fault fault;
    words >> name >> fault.kind >> std::ws;
    std::getline(words, fault.argument);
    if (!taken && name == step)
      taken = fault;
    else
      rest += line + "\n";
  }
  if (!taken) return taken;
  const std::string next = file_ + ".new";
  std::ofstream(next) << rest;
  std::rename(next.c_str(), file_.c_str());
  return taken;
}

Send Faults::changed(const Fault& fault, const Send& send) {
  const auto instead = [&](const std::string& text) {
    return [send, text](const std::string& client, const std::string& topic, const std::string&) {
      send(client, topic, text);
    };
  };
  if (fault.kind == "lose") return [](const auto&, const auto&, const auto&) {};
  if (fault.kind == "garbage") return instead("\xff{garbage");
  if (fault.kind == "say") return instead(fault.argument);
  if (fault.kind == "long") return instead(std::string(std::stoul(fault.argument), 'x'));
  if (fault.kind == "twice")
    return [send](const std::string& client, const std::string& topic, const std::string& payload) {
      send(client, topic, payload);
      send(client, topic, payload);
    };
  if (fault.kind == "late") {
    const auto when =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(std::stoul(fault.argument));
    return [this, when](const std::string& client, const std::string& topic,
                        const std::string& payload) {
      late_.push_back({when, client, topic, payload});
    };
  }
  throw std::runtime_error("an unknown fault: " + fault.kind);
}

void Faults::handle(Cloud& cloud, const Client& client, const Publication& message,
                    const Send& send, const Drop& drop) {
  const auto fault = take(cloud.step_of(message));
  if (!fault) return cloud.published(client, message, send);
  if (fault->kind == "silent") return;
  if (fault->kind == "drop") return drop(client.id);
  if (fault->kind == "refuse")
    return cloud.refuse(client, message, std::stoi(fault->argument), send);
  cloud.published(client, message, changed(*fault, send));
  if (fault->kind == "lose") drop(client.id);
}

bool Faults::refuses(const std::string& step) const {
  const auto fault = take(step);
  return fault && fault->kind == "refuse";
}

void Faults::tick(const Send& send) {
  const auto now = std::chrono::steady_clock::now();
  for (auto each = late_.begin(); each != late_.end();) {
    if (each->when > now) {
      ++each;
      continue;
    }
    send(each->client_id, each->topic, each->payload);
    each = late_.erase(each);
  }
}

}  // namespace hwid::stand_in
