// A PTX module as text tells it: what the parser gives to the decoder.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lexer.h"
#include "types.h"

namespace ptx {

enum class Space : uint8_t { generic, global, constant, shared, local, parameter };

struct FunctionSyntax;

// What a name stands for.
struct Symbol {
    enum Kind : uint8_t { register_name, variable, label, function, targets } kind;
    std::string_view name;
    Type type = Type::none;
    int line = 0;
    // a variable
    Space space = Space::generic;
    uint64_t size = 0;
    uint32_t align = 1;
    bool external = false;         // extern .shared: the dynamic part of shared memory
    bool entry_parameter = false;  // of a kernel, the same for all threads
    uint64_t address = 0;          // absolute, or an offset in the space
    FunctionSyntax *owner = nullptr;
    std::vector<Token> initializer;
    // a register, once the decoder has placed it
    uint32_t offset = 0, index = 0;
    // a label: the number of the statement that follows it
    uint32_t position = 0;
    // .branchtargets
    std::vector<std::string_view> names;
    // a function
    FunctionSyntax *code = nullptr;
};

struct Scope {
    Scope *parent = nullptr;
    std::unordered_map<std::string_view, Symbol> symbols;

    Symbol *find(std::string_view name) {
        for (Scope *scope = this; scope; scope = scope->parent) {
            auto found = scope->symbols.find(name);
            if (found != scope->symbols.end()) return &found->second;
        }
        return nullptr;
    }
};

struct OperandSyntax {
    enum Kind : uint8_t { name, number, memory, list, sink } kind = sink;
    std::string_view text;                         // of a name, or of the base in [base + offset]
    std::string_view second;                       // q in p|q
    bool negated = false;                          // !p
    bool has_base = true;                          // false: [1234]
    TokenKind number_kind = TokenKind::integer;
    uint64_t bits = 0;                             // of a number
    int64_t offset = 0;                            // of [base + offset] and of base + offset
    std::vector<OperandSyntax> elements;           // {a, b} and (a, b)
};

struct Statement {
    int line = 0;
    std::string_view text;
    int source_file = 0, source_line = 0;  // from .loc; 0 where none
    std::string_view guard;                // the predicate of @p
    bool guard_negated = false;
    std::string_view opcode;
    std::vector<std::string_view> modifiers;
    std::vector<OperandSyntax> operands;
    Scope *scope = nullptr;
};

struct FunctionSyntax {
    std::string_view name;
    int line = 0;
    bool entry = false, defined = false;
    uint32_t max_threads = 1024;
    std::vector<Symbol *> results, parameters;
    std::vector<Symbol *> variables;  // shared, local and .param variables of the body
    std::deque<Scope> scopes;         // the first holds the parameters
    std::vector<Statement> statements;
};

struct ModuleSyntax {
    std::string source;
    std::string version, target;
    Scope scope;
    std::deque<FunctionSyntax> functions;
    std::vector<Symbol *> variables;  // of the module and static ones of functions, in order
    std::map<int, std::string> files;
    std::deque<std::string> names;  // of registers declared as %r<5>
};

// Throws a Fault that names the line for what it does not know.
std::unique_ptr<ModuleSyntax> parse_syntax(const std::string &text);

}  // namespace ptx
