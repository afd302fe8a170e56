#include "form.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "machine.h"

namespace ptx {

Operand Constants::of(uint64_t value, unsigned bytes) {
    if (bytes == 0) value = value ? all_lanes : 0;
    if (bytes && bytes < 8) value &= (uint64_t{1} << (8 * bytes)) - 1;
    auto [place, fresh] = known_.try_emplace({value, bytes}, static_cast<uint32_t>(pool_.size()));
    if (fresh) {
        size_t begin = pool_.size(), count = bytes ? lanes : 1, size = bytes ? bytes : 4;
        pool_.resize(begin + (count * size + 63) / 64 * 64);
        for (size_t i = 0; i < count; i++) std::memcpy(&pool_[begin + i * size], &value, size);
    }
    return {place->second, 0};
}

void Constants::finish(Buffer &memory) const {
    std::copy(pool_.begin(), pool_.end(), memory.at_least(pool_.size() + 1));
}

Operand Decoding::new_register(Type type) {
    Operand result{function->register_bytes, function->registers++};
    uint32_t bytes = type == Type::pred ? 4 : size_of(type) * lanes;
    function->register_bytes += (bytes + 31) / 32 * 32;
    return result;
}

Form::Form(Decoding &decoding, const Statement &statement)
    : decoding_(decoding), statement_(statement), modifiers_(statement.modifiers) {
    if (statement.guard.empty()) return;
    Symbol &symbol = needed_symbol(statement.guard);
    in.guard = register_operand(symbol, Type::pred, false);
    in.guarded = true;
    in.guard_negated = statement.guard_negated;
}

void Form::refuse(const std::string &why) const {
    invalid_ptx(statement_.line, "'" + std::string(statement_.text) + "': " + why);
}

// ---------------------------------------------------------------- modifiers

bool Form::take(std::string_view name) {
    auto found = std::find(modifiers_.begin(), modifiers_.end(), name);
    if (found == modifiers_.end()) return false;
    modifiers_.erase(found);
    return true;
}

std::string_view Form::one_of(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names)
        if (take(name)) return name;
    return {};
}

std::string_view Form::needed(std::initializer_list<std::string_view> names) {
    std::string_view result = one_of(names);
    if (result.empty()) {
        std::string list;
        for (std::string_view name : names)
            list += (list.empty() ? "." : ", .") + std::string(name);
        refuse("the interpreter needs one of " + list);
    }
    return result;
}

void Form::without_effect(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names) take(name);
}

bool Form::more_types() const {
    return std::any_of(modifiers_.begin(), modifiers_.end(),
                       [](std::string_view name) { return type_named(name) != Type::none; });
}

Type Form::type() {
    for (auto place = modifiers_.begin(); place != modifiers_.end(); ++place) {
        Type type = type_named(*place);
        if (type == Type::none) continue;
        modifiers_.erase(place);
        return type;
    }
    refuse("a type is missing");
}

Type Form::type_of(std::initializer_list<Type> allowed) {
    Type result = type();
    if (std::find(allowed.begin(), allowed.end(), result) == allowed.end())
        refuse("the interpreter does not have it for ." + std::string(facts(result).name));
    return result;
}

Rounding Form::rounding() {
    std::string_view name = one_of({"rn", "rz", "rm", "rp"});
    if (name == "rz") return Rounding::zero;
    if (name == "rm") return Rounding::down;
    if (name == "rp") return Rounding::up;
    return Rounding::nearest;
}

void Form::finish() const {
    if (!modifiers_.empty())
        refuse("the interpreter does not have '" + std::string(statement_.opcode) +
               "' with the modifier '." + std::string(modifiers_.front()) + "'");
    if (more()) refuse("too many operands");
}

// ---------------------------------------------------------------- operands

const OperandSyntax &Form::peek() const {
    if (!more()) refuse("an operand is missing");
    return statement_.operands[next_];
}

const OperandSyntax &Form::next() {
    const OperandSyntax &operand = peek();
    next_++;
    return operand;
}

Symbol *Form::symbol(std::string_view name) const { return statement_.scope->find(name); }

Symbol &Form::needed_symbol(std::string_view name) const {
    Symbol *found = symbol(name);
    if (!found) refuse("'" + std::string(name) + "' is not declared");
    return *found;
}

Type Form::register_type(const OperandSyntax &operand) const {
    if (operand.kind != OperandSyntax::name) return Type::none;
    Symbol *found = symbol(operand.text);
    return found && found->kind == Symbol::register_name ? found->type : Type::none;
}

Operand Form::register_operand(Symbol &symbol, Type type, bool any_width) const {
    if (symbol.kind != Symbol::register_name)
        refuse("'" + std::string(symbol.name) + "' is not a register");
    bool fits = any_width ? size_of(symbol.type) >= size_of(type)
                          : size_of(symbol.type) == size_of(type);
    if (!fits || (type == Type::pred) != (symbol.type == Type::pred))
        refuse("register '" + std::string(symbol.name) + "' of type ." +
               std::string(facts(symbol.type).name) + " where ." + std::string(facts(type).name) +
               " is expected");
    if (!symbol.index) {
        Operand place = decoding_.new_register(symbol.type);
        symbol.offset = place.offset;
        symbol.index = place.index;
    }
    return {symbol.offset, symbol.index};
}

Operand Form::constant(const OperandSyntax &operand, Type type) {
    uint64_t bits = operand.bits;
    bool number_is_float = operand.number_kind != TokenKind::integer;
    if (type == Type::f32 && operand.number_kind == TokenKind::real)
        bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    if (type == Type::f64 && operand.number_kind == TokenKind::single)
        bits = std::bit_cast<uint64_t>(
            static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
    bool wants_float = is_float(type) || facts(type).kind == 'v';
    if (wants_float != number_is_float && facts(type).kind != 'b')
        refuse("a constant of another kind than ." + std::string(facts(type).name));
    return decoding_.constants.of(bits, size_of(type));
}

Operand Form::hidden(Instruction::Run run, Type type, uint32_t flags, int64_t offset) {
    Instruction instruction;
    instruction.run = run;
    instruction.guard = in.guard;
    instruction.guarded = in.guarded;
    instruction.guard_negated = in.guard_negated;
    instruction.to[0] = decoding_.new_register(type);
    instruction.to_count = 1;
    instruction.width = static_cast<uint8_t>(size_of(type));
    instruction.flags = flags;
    instruction.offset = offset;
    push(instruction);
    return instruction.to[0];
}

Operand Form::special(SpecialRegister which, Type type) {
    if (type == Type::pred || size_of(type) < size_of(which.type)) refuse("a wider type is needed");
    return hidden(read_special_register, type, which.number, 0);
}

Operand Form::address_of(const Symbol &symbol, int64_t offset, Type type) {
    if (size_of(type) < 4) refuse("an address does not fit");
    if (symbol.external) return hidden(read_dynamic_shared_address, type, 0, offset);
    uint64_t address = symbol.address + offset;
    bool of_frame = symbol.space == Space::local ||
                    (symbol.space == Space::parameter && !symbol.entry_parameter);
    if (of_frame) return hidden(read_frame_address, type, 0, static_cast<int64_t>(address));
    if (symbol.space == Space::parameter) address += parameter_window;
    if (size_of(type) == 4 && symbol.space != Space::shared)
        refuse("the address of '" + std::string(symbol.name) + "' has 64 bits");
    return decoding_.constants.of(address, size_of(type));
}

Operand Form::value(const OperandSyntax &operand, Type type, bool any_width) {
    if (operand.kind == OperandSyntax::number) return constant(operand, type);
    if (operand.kind != OperandSyntax::name || !operand.second.empty())
        refuse("an operand that the interpreter does not expect there");
    if (auto which = special_register(operand.text)) return special(*which, type);
    Symbol &found = needed_symbol(operand.text);
    if (found.kind == Symbol::variable) return address_of(found, operand.offset, type);
    if (found.kind == Symbol::function) refuse("addresses of functions are not supported");
    if (operand.offset) refuse("a register with an offset");
    Operand result = register_operand(found, type, any_width);
    if (!operand.negated) return result;
    if (type != Type::pred) refuse("'!' before what is not a predicate");
    Instruction negation;
    negation.run = negate_predicate;
    negation.guard = in.guard;
    negation.guarded = in.guarded;
    negation.guard_negated = in.guard_negated;
    negation.from[negation.from_count++] = result;
    negation.to[negation.to_count++] = decoding_.new_register(Type::pred);
    push(negation);
    return negation.to[0];
}

void Form::add_to(const OperandSyntax &operand, Type type) {
    if (in.to_count == std::size(in.to)) refuse("too many results");
    if (operand.kind == OperandSyntax::sink) {
        in.to[in.to_count++] = decoding_.new_register(type);
        return;
    }
    if (operand.kind != OperandSyntax::name || operand.negated || !operand.second.empty())
        refuse("a result that is not a register");
    in.to[in.to_count++] = register_operand(needed_symbol(operand.text), type, false);
}

void Form::add_from(const OperandSyntax &operand, Type type) {
    if (in.from_count == std::size(in.from)) refuse("too many operands");
    in.from[in.from_count++] = value(operand, type, false);
}

void Form::to(Type type) { add_to(next(), type); }

Type Form::to_any_width() {
    const OperandSyntax &operand = next();
    Type type = register_type(operand);
    if (operand.kind == OperandSyntax::sink) type = Type::b64;
    if (type == Type::none) refuse("a result that is not a register");
    add_to(operand, type);
    return type;
}

void Form::to_predicates() {
    OperandSyntax first = next(), second = first;
    first.second = {};
    add_to(first, Type::pred);
    if (second.second.empty()) return;
    second.text = second.second;
    second.second = {};
    if (second.text == "_") second.kind = OperandSyntax::sink;
    add_to(second, Type::pred);
}

void Form::from(Type type) { add_from(next(), type); }

Type Form::from_any_width(Type type) {
    const OperandSyntax &operand = next();
    Type actual = register_type(operand);
    if (in.from_count == std::size(in.from)) refuse("too many operands");
    in.from[in.from_count++] = value(operand, type, true);
    return actual == Type::none ? type : actual;
}

void Form::from_predicate() { add_from(next(), Type::pred); }

void Form::address() {
    OperandSyntax operand = next();
    if (operand.kind != OperandSyntax::memory) refuse("an operand in brackets is expected");
    in.offset = operand.offset;
    if (!operand.has_base) {
        in.offset = 0;
        in.from[in.from_count++] = decoding_.constants.of(operand.bits, 8);
        return;
    }
    Symbol &base = needed_symbol(operand.text);
    if (base.kind == Symbol::variable) {
        in.offset = 0;
        in.from[in.from_count++] = address_of(base, operand.offset, Type::b64);
        return;
    }
    in.address_bytes = static_cast<uint8_t>(size_of(base.type));
    if (in.address_bytes < 4) refuse("an address has 32 or 64 bits");
    in.from[in.from_count++] = register_operand(base, base.type, false);
}

void Form::push(const Instruction &instruction) {
    decoding_.code.instructions.push_back(instruction);
    decoding_.code.origins.push_back({&statement_, decoding_.function});
}

void Form::emit(Instruction::Run run) {
    if (!run) refuse("the interpreter does not have it for this type");
    in.run = run;
    push(in);
}

}  // namespace ptx
