// The PTX interpreter as the driver uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ptx {

struct Function;  // its code is private to the interpreter

struct Parameter {
    size_t offset, size;
};

struct Entry {
    std::string name;
    std::vector<Parameter> parameters;
    size_t parameter_bytes = 0;
    size_t static_shared = 0;  // bytes of shared memory that the kernel and what it calls declare
    size_t local_bytes = 0;    // a thread
    uint32_t max_threads = 1024;  // .maxntid
    const Function *function = nullptr;
};

struct Global {
    std::string name;
    uint64_t address;
    size_t size;
    bool constant;
};

struct Module {
    std::string version, target;
    std::vector<Entry> entries;    // addresses are stable once parsed
    std::vector<Global> globals;
    std::shared_ptr<void> code;
};

// Parses PTX text. `allocate(bytes, align, constant)` gives memory for a module's variables, which
// the parser fills. Throws fakecuda::Fault (218, invalid PTX) that names the line, also for an
// instruction or modifier that the interpreter does not have.
std::unique_ptr<Module> parse(const std::string &text,
                              const std::function<void *(size_t, size_t, bool)> &allocate);

struct Dim {
    uint32_t x, y, z;
};

// Runs a whole grid, block by block. Throws fakecuda::Fault that names kernel, PTX line (and the
// CUDA source line where .loc tells), block and thread. Returns the number of instructions that
// threads executed.
uint64_t launch(const Module &module, const Entry &entry, Dim grid, Dim block, size_t dynamic_shared,
                const uint8_t *parameters, int device);

}  // namespace ptx
