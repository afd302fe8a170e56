// Modules of PTX code, their functions, and launches.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../interpreter.h"
#include "counters.h"
#include "state.h"

struct CUfunc_st {
    CUmod_st *module = nullptr;
    const ptx::Entry *entry = nullptr;
    fakecuda::Counter *launches = nullptr;
    int max_dynamic_shared = fakecuda::shared_memory_default;
    int carveout = -1;
};

struct CUmod_st {
    fakecuda::Context *context = nullptr;
    std::unique_ptr<ptx::Module> code;
    std::vector<uint64_t> variables;  // addresses
    std::vector<std::unique_ptr<CUfunc_st>> functions;

    CUmod_st() = default;
    CUmod_st(const CUmod_st &) = delete;
    CUmod_st &operator=(const CUmod_st &) = delete;
    ~CUmod_st();  // frees its variables
};

namespace fakecuda {

using Module = CUmod_st;
using Function = CUfunc_st;
using ModulePointer = std::shared_ptr<Module>;

// A live function, with its module. Fault 400 if it is none.
ModulePointer module_of(Function *function);

void destroy_modules(Context &context);

// How many blocks of a function one multiprocessor holds at a time.
int blocks_per_multiprocessor(const Function &function, int threads, size_t dynamic_shared);

// Fault 801, which sticks: this program has machine code for GPUs, which can't run here.
[[noreturn]] void refuse_machine_code(const std::string &what);

}  // namespace fakecuda
