#include "tools/hwid/doctor/elf_file.h"

#include <elf.h>

#include <cstring>
#include <fstream>

namespace hwid::tool::doctor {
namespace {

// The beginning of both forms of the header (32 and 64 bits) is the same.
struct Head {
  unsigned char ident[EI_NIDENT];
  Elf64_Half type;
  Elf64_Half machine;
};

bool read_head(const std::string& path, Head& head) {
  std::ifstream in(path, std::ios::binary);
  return static_cast<bool>(in.read(reinterpret_cast<char*>(&head), sizeof head)) &&
         std::memcmp(head.ident, ELFMAG, SELFMAG) == 0;
}

std::string machine_text(const Head& head) {
  struct Machine {
    Elf64_Half number;
    const char* name;
  };
  constexpr Machine kMachines[] = {
      {EM_X86_64, "x86-64"}, {EM_386, "x86"},       {EM_AARCH64, "AArch64"}, {EM_ARM, "ARM"},
      {EM_RISCV, "RISC-V"},  {EM_PPC64, "PowerPC"}, {EM_S390, "S/390"},      {EM_MIPS, "MIPS"}};
  std::string name = "machine " + std::to_string(head.machine);
  for (const Machine& machine : kMachines) {
    if (machine.number == head.machine) name = machine.name;
  }
  return name + (head.ident[EI_CLASS] == ELFCLASS64 ? " (64 bits)" : " (32 bits)");
}

}  // namespace

std::string foreign_library(const std::string& path) {
  Head file{};
  Head self{};
  if (!read_head(path, file)) {
    std::ifstream in(path, std::ios::binary);
    return in.peek() == std::ifstream::traits_type::eof() ? "empty" : "no library (no ELF file)";
  }
  if (!read_head("/proc/self/exe", self)) return "";
  const bool same_machine = file.machine == self.machine &&
                            file.ident[EI_CLASS] == self.ident[EI_CLASS] &&
                            file.ident[EI_DATA] == self.ident[EI_DATA];
  if (!same_machine)
    return "a library for " + machine_text(file) + ", and this program is one for " +
           machine_text(self);
  return file.type == ET_DYN ? "" : "no shared library";
}

}  // namespace hwid::tool::doctor
