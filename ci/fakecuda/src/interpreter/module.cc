// parse(): from text to decoded code. Lays out memory, decodes the functions and links branches.
#include <algorithm>
#include <cstring>
#include <set>

#include "../interpreter.h"
#include "../standin.h"
#include "form.h"

namespace ptx {
namespace {

using Allocate = std::function<void *(size_t, size_t, bool)>;

const Opcodes &all_opcodes() {
    static const Opcodes opcodes = [] {
        Opcodes result;
        add_arithmetic_opcodes(result);
        add_bit_opcodes(result);
        add_function_opcodes(result);
        add_compare_opcodes(result);
        add_conversion_opcodes(result);
        add_move_opcodes(result);
        add_memory_opcodes(result);
        add_atomic_opcodes(result);
        add_control_opcodes(result);
        add_warp_opcodes(result);
        add_barrier_opcodes(result);
        return result;
    }();
    return opcodes;
}

uint64_t aligned(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

// What a function uses, itself and by what it calls.
struct Uses {
    std::set<const FunctionSyntax *> functions;
    std::vector<Symbol *> shared;
};

class Builder {
public:
    Builder(Module &module, Code &code, const Allocate &allocate)
        : module_(module), code_(code), syntax_(*code.syntax), allocate_(allocate),
          decoding_{code, {}, all_opcodes()} {}

    void run() {
        for (Symbol *symbol : syntax_.variables)
            if (symbol->space != Space::shared) place_variable(*symbol);
        for (FunctionSyntax &function : syntax_.functions)
            if (function.defined) lay_out(function);
        for (FunctionSyntax &function : syntax_.functions)
            if (function.defined) find_uses(function);
        place_shared();
        for (FunctionSyntax &function : syntax_.functions)
            if (function.defined) decode(function);
        finish();
    }

private:
    Module &module_;
    Code &code_;
    ModuleSyntax &syntax_;
    const Allocate &allocate_;
    Decoding decoding_;
    std::map<const FunctionSyntax *, Uses> uses_;

    // ------------------------------------------------------------ variables of the module

    void place_variable(Symbol &symbol) {
        bool constant = symbol.space == Space::constant;
        size_t size = std::max<uint64_t>(symbol.size, 1);
        auto *memory = static_cast<uint8_t *>(allocate_(size, symbol.align, constant));
        std::memset(memory, 0, size);
        symbol.address = reinterpret_cast<uint64_t>(memory);
        initialize(symbol, memory);
        if (!symbol.owner)
            module_.globals.push_back(
                {std::string(symbol.name), symbol.address, symbol.size, constant});
    }

    // { 1, -2, {3, 4}, name, generic(name) + 8 }
    void initialize(const Symbol &symbol, uint8_t *memory) {
        unsigned width = size_of(symbol.type);
        uint64_t at = 0;
        bool negative = false;
        const auto &tokens = symbol.initializer;
        for (size_t i = 0; i < tokens.size(); i++) {
            const Token &token = tokens[i];
            if (token.is('{') || token.is('}') || token.is(',')) continue;
            if (token.is('-')) {
                negative = true;
                continue;
            }
            if (at + width > symbol.size) invalid_ptx(token.line, "too many initial values");
            uint64_t value = token.kind == TokenKind::name ? address_value(tokens, i)
                                                           : number_value(symbol, token, negative);
            std::memcpy(memory + at, &value, width);
            at += width;
            negative = false;
        }
    }

    static uint64_t number_value(const Symbol &symbol, const Token &token, bool negative) {
        switch (token.kind) {
            case TokenKind::integer: return negative ? -token.bits : token.bits;
            case TokenKind::single: return token.bits ^ (uint64_t{negative} << 31);
            case TokenKind::real: {
                uint64_t bits = token.bits ^ (uint64_t{negative} << 63);
                if (symbol.type != Type::f32) return bits;
                return std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
            }
            default: invalid_ptx(token.line, "an initial value that is not known");
        }
    }

    uint64_t address_value(const std::vector<Token> &tokens, size_t &i) {
        auto is = [&](size_t at, char c) { return at < tokens.size() && tokens[at].is(c); };
        size_t name = i;
        if (tokens[i].text == "generic" && is(i + 1, '(') && is(i + 3, ')')) {
            name = i + 2;
            i += 3;
        }
        Symbol *symbol = syntax_.scope.find(tokens[name].text);
        bool known = symbol && symbol->kind == Symbol::variable && symbol->address;
        if (!known)
            invalid_ptx(tokens[name].line, "the initial value '" + std::string(tokens[name].text) +
                                               "' is not a variable declared before");
        uint64_t offset = 0;
        if (is(i + 1, '+') && i + 2 < tokens.size()) {
            offset = tokens[i + 2].bits;
            i += 2;
        }
        return symbol->address + offset;
    }

    // ------------------------------------------------------------ functions before decoding

    static uint32_t place_in_frame(const std::vector<Symbol *> &symbols, uint64_t offset) {
        for (Symbol *symbol : symbols) {
            if (symbol->space == Space::shared) continue;
            offset = aligned(offset, symbol->align);
            symbol->address = offset;
            offset += symbol->size;
        }
        return static_cast<uint32_t>(offset);
    }

    void lay_out(FunctionSyntax &syntax) {
        Function &function = code_.functions.emplace_back();
        function.name = syntax.name;
        function.entry = syntax.entry;
        decoding_.functions[&syntax] = &function;
        uint32_t bytes = 0;
        if (syntax.entry) {
            place_in_frame(syntax.parameters, 0);
        } else {
            bytes = place_in_frame(syntax.results, 0);
            bytes = place_in_frame(syntax.parameters, bytes);
        }
        function.local_bytes =
            static_cast<uint32_t>(aligned(place_in_frame(syntax.variables, bytes), 16));
    }

    void find_uses(FunctionSyntax &syntax) {
        Uses &uses = uses_[&syntax];
        for (const Statement &statement : syntax.statements)
            for (const OperandSyntax &operand : statement.operands)
                note_use(uses, *statement.scope, operand);
    }

    void note_use(Uses &uses, Scope &scope, const OperandSyntax &operand) {
        for (const OperandSyntax &element : operand.elements) note_use(uses, scope, element);
        Symbol *symbol = operand.text.empty() ? nullptr : scope.find(operand.text);
        if (!symbol) return;
        if (symbol->kind == Symbol::function && symbol->code->defined)
            uses.functions.insert(symbol->code);
        bool shared = symbol->kind == Symbol::variable && symbol->space == Space::shared;
        if (shared &&
            std::find(uses.shared.begin(), uses.shared.end(), symbol) == uses.shared.end())
            uses.shared.push_back(symbol);
    }

    std::set<const FunctionSyntax *> reached(const FunctionSyntax &from) {
        std::set<const FunctionSyntax *> result{&from};
        std::vector<const FunctionSyntax *> next{&from};
        while (!next.empty()) {
            const FunctionSyntax *function = next.back();
            next.pop_back();
            for (const FunctionSyntax *callee : uses_[function].functions)
                if (result.insert(callee).second) next.push_back(callee);
        }
        return result;
    }

    // Variables that one kernel can reach lie behind each other; those of different kernels may
    // overlap. A variable has the same offset in all kernels, so that code is decoded once.
    void place_shared() {
        std::map<const Symbol *, std::vector<Function *>> kernels;
        for (FunctionSyntax &syntax : syntax_.functions) {
            if (!syntax.entry || !syntax.defined) continue;
            for (const FunctionSyntax *function : reached(syntax))
                for (Symbol *symbol : uses_[function].shared)
                    kernels[symbol].push_back(decoding_.functions[&syntax]);
        }
        for (Symbol *symbol : syntax_.variables) {
            if (symbol->space != Space::shared || symbol->external) continue;
            uint32_t offset = 0;
            for (Function *kernel : kernels[symbol])
                offset = std::max(offset, kernel->static_shared);
            symbol->address = aligned(offset, symbol->align);
            for (Function *kernel : kernels[symbol])
                kernel->static_shared = static_cast<uint32_t>(symbol->address + symbol->size);
        }
    }

    // ------------------------------------------------------------ decoding

    void decode(FunctionSyntax &syntax) {
        Function &function = *decoding_.functions[&syntax];
        function.begin = static_cast<uint32_t>(code_.instructions.size());
        decoding_.function = &function;
        decoding_.syntax = &syntax;
        Statement &end = code_.ends.emplace_back();
        end.line = syntax.line;
        end.text = end.opcode = "ret";
        end.scope = &syntax.scopes.front();
        std::vector<uint32_t> positions;
        for (const Statement &statement : syntax.statements) {
            positions.push_back(static_cast<uint32_t>(code_.instructions.size()));
            decode(statement);
        }
        positions.push_back(static_cast<uint32_t>(code_.instructions.size()));
        decode(end);
        link(positions);
        function.register_bytes = static_cast<uint32_t>(aligned(function.register_bytes, 64));
    }

    void decode(const Statement &statement) {
        Form form(decoding_, statement);
        auto found = decoding_.opcodes.find(statement.opcode);
        if (found == decoding_.opcodes.end())
            form.refuse("the interpreter does not have the instruction '" +
                        std::string(statement.opcode) + "'");
        found->second(form);
        form.finish();
    }

    void link(const std::vector<uint32_t> &positions) {
        for (auto [instruction, label] : decoding_.branches)
            code_.instructions[instruction].target = positions[label->position];
        for (auto [table, label] : decoding_.tables)
            code_.branch_tables[table].push_back(positions[label->position]);
        decoding_.branches.clear();
        decoding_.tables.clear();
    }

    // ------------------------------------------------------------ after decoding

    struct Stack {
        size_t registers = 0, indices = 0, local = 0;
    };

    // The deepest stack of calls. Functions that call themselves get room for 200 calls.
    Stack stack_of(const FunctionSyntax *syntax, std::set<const FunctionSyntax *> &callers,
                   bool &recursive) {
        Stack deepest;
        callers.insert(syntax);
        for (const FunctionSyntax *callee : uses_[syntax].functions) {
            if (callers.count(callee)) {
                recursive = true;
                continue;
            }
            Stack stack = stack_of(callee, callers, recursive);
            deepest.registers = std::max(deepest.registers, stack.registers);
            deepest.indices = std::max(deepest.indices, stack.indices);
            deepest.local = std::max(deepest.local, stack.local);
        }
        callers.erase(syntax);
        const Function &function = *decoding_.functions[syntax];
        return {deepest.registers + function.register_bytes, deepest.indices + function.registers,
                deepest.local + function.local_bytes};
    }

    void finish() {
        decoding_.constants.finish(code_.constants);
        code_.constant_rows = code_.constants.at_least(0);
        for (FunctionSyntax &syntax : syntax_.functions) {
            if (!syntax.entry || !syntax.defined) continue;
            Function &function = *decoding_.functions[&syntax];
            bool recursive = false;
            std::set<const FunctionSyntax *> callers;
            Stack stack = stack_of(&syntax, callers, recursive);
            size_t times = recursive ? 200 : 1;
            function.stack_registers = stack.registers * times;
            function.stack_indices = stack.indices * times;
            function.stack_local = stack.local * times;
            add_entry(syntax, function);
        }
        module_.version = syntax_.version;
        module_.target = syntax_.target;
    }

    void add_entry(const FunctionSyntax &syntax, const Function &function) {
        Entry entry;
        entry.name = syntax.name;
        for (const Symbol *parameter : syntax.parameters) {
            entry.parameters.push_back({parameter->address, parameter->size});
            entry.parameter_bytes = parameter->address + parameter->size;
        }
        entry.static_shared = function.static_shared;
        entry.local_bytes = function.stack_local;
        entry.max_threads = syntax.max_threads;
        entry.function = &function;
        module_.entries.push_back(std::move(entry));
    }
};

}  // namespace

std::unique_ptr<Module> parse(const std::string &text, const Allocate &allocate) {
    auto module = std::make_unique<Module>();
    auto code = std::make_shared<Code>();
    code->syntax = parse_syntax(text);
    Builder(*module, *code, allocate).run();
    module->code = code;
    return module;
}

}  // namespace ptx
