// hwid-test-cloud aws FILE [POLICY CLAIM-POLICY], hwid-test-cloud azure FILE: a stand-in cloud for
// shell scripts, until SIGTERM. FILE gets lines for the shell once it is ready: CLOUD_DIR (its
// files: certificates, faults, logs), CLOUD_PORT, CLOUD_HTTPS_PORT,
// CLOUD_CREDENTIALS_PORT, CLOUD_HUB, CLOUD_SOCKET.
#include <csignal>
#include <cstdio>
#include <iostream>

#include "cloud/stand_in.h"

using namespace hwid::test;  // NOLINT(google-build-using-namespace)

namespace {

void tell(const std::string& file, const StandIn& cloud, int https_port, int credentials_port) {
  write_file(file + ".new", "CLOUD_DIR=" + cloud.directory().path().string() +
                                "\nCLOUD_PORT=" + std::to_string(cloud.mqtts_port()) +
                                "\nCLOUD_HTTPS_PORT=" + std::to_string(https_port) +
                                "\nCLOUD_CREDENTIALS_PORT=" + std::to_string(credentials_port) +
                                "\nCLOUD_HUB=" + AzureStandIn::address() +
                                "\nCLOUD_SOCKET=" + cloud.socket() + "\n");
  std::rename((file + ".new").c_str(), file.c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 2 || (words[0] != "aws" && words[0] != "azure")) {
    std::cerr << "usage: hwid-test-cloud aws|azure FILE [POLICY CLAIM-POLICY]\n";
    return 2;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  std::unique_ptr<StandIn> cloud;
  int https_port = 0;
  int credentials_port = 0;
  if (words[0] == "aws") {
    auto aws = words.size() == 4
                   ? std::make_unique<AwsStandIn>(read_file(words[2]), read_file(words[3]))
                   : std::make_unique<AwsStandIn>();
    https_port = aws->https().port();
    credentials_port = aws->credentials().port();
    cloud = std::move(aws);
  } else {
    cloud = std::make_unique<AzureStandIn>();
  }
  sigprocmask(SIG_BLOCK, &ends, nullptr);  // its own programs must still hear them
  tell(words[1], *cloud, https_port, credentials_port);
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
