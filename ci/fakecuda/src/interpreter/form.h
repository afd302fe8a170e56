// How an instruction's text becomes an Instruction: what the decoders of the opcodes use.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <unordered_map>

#include "code.h"
#include "numbers.h"

namespace ptx {

class Form;
using Decode = void (*)(Form &);
using Opcodes = std::unordered_map<std::string_view, Decode>;

// Each family of instructions adds its opcodes.
void add_arithmetic_opcodes(Opcodes &);
void add_bit_opcodes(Opcodes &);
void add_function_opcodes(Opcodes &);
void add_compare_opcodes(Opcodes &);
void add_conversion_opcodes(Opcodes &);
void add_move_opcodes(Opcodes &);
void add_memory_opcodes(Opcodes &);
void add_atomic_opcodes(Opcodes &);
void add_control_opcodes(Opcodes &);
void add_warp_opcodes(Opcodes &);
void add_barrier_opcodes(Opcodes &);

// The opcodes that integers and floating-point numbers share: add, sub, mul, mad, div, min, ...
void decode_integer(Form &, std::string_view opcode, Type type);
void decode_float(Form &, std::string_view opcode, Type type);
void decode_half(Form &, std::string_view opcode, Type type);

void decode_warp_barrier(Form &);  // bar.warp.sync, after .warp

// Instructions that stand for an operand: they put its value into a register of their own.
void read_special_register(Warp &, const Instruction &);
void read_dynamic_shared_address(Warp &, const Instruction &);
void read_frame_address(Warp &, const Instruction &);
void negate_predicate(Warp &, const Instruction &);

// The number by which read_special_register knows a name, and its type; none if it is not one.
struct SpecialRegister {
    uint32_t number;
    Type type;
};
std::optional<SpecialRegister> special_register(std::string_view name);

// Rows of constants, each value once.
class Constants {
public:
    Operand of(uint64_t value, unsigned bytes);  // bytes 0: a predicate
    void finish(Buffer &memory) const;

private:
    std::map<std::pair<uint64_t, unsigned>, uint32_t> known_;
    std::vector<std::byte> pool_;
};

// What is decoded now.
struct Decoding {
    Code &code;
    Constants constants;
    const Opcodes &opcodes;
    FunctionSyntax *syntax = nullptr;
    Function *function = nullptr;
    std::unordered_map<const FunctionSyntax *, Function *> functions = {};
    std::vector<std::pair<uint32_t, const Symbol *>> branches = {};  // instruction, label
    std::vector<std::pair<uint32_t, const Symbol *>> tables = {};    // branch table, label

    Operand new_register(Type type);
};

class Form {
public:
    Form(Decoding &decoding, const Statement &statement);

    // ---- modifiers: each is taken once, and one that is left over is an error

    bool take(std::string_view name);
    // Which of the names is there; empty if none.
    std::string_view one_of(std::initializer_list<std::string_view> names);
    std::string_view needed(std::initializer_list<std::string_view> names);
    // Those that change nothing in an interpreter that runs one thread after another.
    void without_effect(std::initializer_list<std::string_view> names);
    bool more_types() const;
    Type type();
    Rounding rounding();  // .rn where none is given
    Type type_of(std::initializer_list<Type> allowed);

    // ---- operands, from left to right

    bool more() const { return next_ < statement_.operands.size(); }
    const OperandSyntax &peek() const;
    const OperandSyntax &next();
    void to(Type type);                 // a register of that size, or _
    Type to_any_width();                // a register of any size: gives its type
    void to_predicates();               // p, or p|q
    void from(Type type);
    Type from_any_width(Type type);     // a register of any size from `type`'s on, or a constant
    void from_predicate();              // p or !p
    void address();                     // [base + offset]
    void add_to(const OperandSyntax &operand, Type type);
    void add_from(const OperandSyntax &operand, Type type);
    Symbol *symbol(std::string_view name) const;
    Symbol &needed_symbol(std::string_view name) const;
    Type register_type(const OperandSyntax &operand) const;  // none if it is no register

    // ---- results

    Instruction in;
    void emit(Instruction::Run run);
    Decoding &decoding() { return decoding_; }
    const Statement &statement() const { return statement_; }
    void finish() const;  // nothing must be left over
    [[noreturn]] void refuse(const std::string &why) const;

private:
    Decoding &decoding_;
    const Statement &statement_;
    std::vector<std::string_view> modifiers_;
    size_t next_ = 0;

    void push(const Instruction &instruction);
    Operand register_operand(Symbol &symbol, Type type, bool any_width) const;
    Operand value(const OperandSyntax &operand, Type type, bool any_width);
    Operand constant(const OperandSyntax &operand, Type type);
    Operand address_of(const Symbol &symbol, int64_t offset, Type type);
    Operand hidden(Instruction::Run run, Type type, uint32_t flags, int64_t offset);
    Operand special(SpecialRegister which, Type type);
};

// ---- from types to templates: `visit` gets a value of the C++ type

template <class Visit>
Instruction::Run with_bits(unsigned bytes, Visit visit) {
    switch (bytes) {
        case 1: return visit(uint8_t{});
        case 2: return visit(uint16_t{});
        case 4: return visit(uint32_t{});
        default: return visit(uint64_t{});
    }
}

template <class Visit>
Instruction::Run with_integer(Type type, Visit visit) {
    bool negative = is_signed(type);
    switch (size_of(type)) {
        case 1: return negative ? visit(int8_t{}) : visit(uint8_t{});
        case 2: return negative ? visit(int16_t{}) : visit(uint16_t{});
        case 4: return negative ? visit(int32_t{}) : visit(uint32_t{});
        default: return negative ? visit(int64_t{}) : visit(uint64_t{});
    }
}

}  // namespace ptx
