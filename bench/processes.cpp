#include "bench/processes.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <stdexcept>

#include "tests/fixture/module_control.h"

namespace hwid::bench {
namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> environment_with(const test::Environment& added) {
  std::vector<std::string> words;
  for (char** word = environ; *word != nullptr; ++word) {
    const std::string text = *word;
    if (!added.contains(text.substr(0, text.find('=')))) words.push_back(text);
  }
  for (const auto& [name, value] : added)
    words.push_back(std::string(name).append("=").append(value));
  return words;
}

}  // namespace

double run_process(const Program& program) {
  std::vector<std::string> words = program.argv;
  std::vector<std::string> variables = environment_with(program.environment);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> environment = pointers(variables);
  pid_t pid = 0;
  int status = 0;
  const auto begin = std::chrono::steady_clock::now();
  const int error = posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environment.data());
  if (error != 0) throw std::runtime_error(words[0] + ": " + std::strerror(error));
  if (waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid");
  const auto end = std::chrono::steady_clock::now();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error(words[0] + " failed, wait status " + std::to_string(status));
  return std::chrono::duration<double>(end - begin).count();
}

double number_from(const Program& program) {
  test::RunOptions options;
  options.environment = program.environment;
  return std::stod(test::run_checked(program.argv, options));
}

double calls_of_process(const Program& program) {
  const test::RemoteModule counting;
  Program counted = program;
  for (const auto& [name, value] : counting.environment()) counted.environment[name] = value;
  run_process(counted);
  return static_cast<double>(counting.count("total"));
}

}  // namespace hwid::bench
