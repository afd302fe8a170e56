// Decoded code: what the interpreter runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "syntax.h"

namespace ptx {

struct Warp;

// A register or a constant, as a row: one value for each of the 32 lanes, side by side. Predicates
// are the exception, 32 bits for 32 lanes.
struct Operand {
    uint32_t offset = 0;  // in bytes, of the frame or of the pool of constants
    uint32_t index = 0;   // number of the register in its frame; 0 for constants
};

// Strict mode: for which lanes a result has a value.
enum class Definedness : uint8_t {
    by_all,          // where all operands have one
    by_other_lanes,  // everywhere, but where the instruction itself says otherwise
    by_choice,       // selp: where the operand has one that is chosen
    by_and,          // of predicates: also where one is false
    by_or,           // also where one is true
    by_third_and,    // setp.and: also where the predicate is false
    by_third_or,
};

struct Instruction {
    using Run = void (*)(Warp &, const Instruction &);
    Run run = nullptr;
    Operand to[4], from[5];
    Operand guard;
    uint8_t to_count = 0, from_count = 0;
    bool guarded = false, guard_negated = false;
    uint8_t consumes = 0;       // strict mode: how many of `from` must be defined
    Definedness defined = Definedness::by_all;
    uint8_t address_bytes = 8;  // of the register with an address
    uint8_t width = 0, count = 1;  // of a memory access: bytes of an element, elements
    Space space = Space::generic;
    uint32_t flags = 0;         // what else the function in `run` wants to know
    uint32_t target = 0;        // where to branch, or an index into a table of Code
    uint32_t site = 0;          // number of this access to memory
    int64_t offset = 0;         // added to an address
};

struct CallCopy {
    uint32_t from, to, bytes;
};

struct Function {
    std::string name;
    bool entry = false;
    uint32_t begin = 0;           // its first instruction
    uint32_t register_bytes = 0;  // of the 32 lanes' frame
    uint32_t registers = 1;       // number 0 stands for constants
    uint32_t local_bytes = 0;     // a thread's frame: .param and .local variables
    uint32_t static_shared = 0;   // with what it calls
    size_t stack_registers = 0, stack_indices = 0, stack_local = 0;  // with what it calls
    bool recursive = false;
    std::vector<const Function *> callees;
};

struct Call {
    const Function *caller = nullptr, *callee = nullptr;
    std::vector<CallCopy> arguments, results;
};

// Where an instruction comes from.
struct Origin {
    const Statement *statement;
    const Function *function;
};

// Memory that begins at a cache line and keeps what it has until it must grow.
class Buffer {
public:
    std::byte *at_least(size_t bytes);

private:
    struct Free {
        void operator()(std::byte *memory) const;
    };
    std::unique_ptr<std::byte, Free> memory_;
    size_t capacity_ = 0;
};

struct Code {
    std::unique_ptr<ModuleSyntax> syntax;
    std::vector<Instruction> instructions;
    std::vector<Origin> origins;  // one for each instruction
    Buffer constants;
    std::byte *constant_rows = nullptr;
    std::deque<Function> functions;
    std::vector<std::vector<uint32_t>> branch_tables;
    std::deque<Call> calls;
    std::deque<Statement> ends;  // what stands for the `ret` that a function's text may lack
    uint32_t sites = 0;
};

}  // namespace ptx
