// ld and st, and the hints about caches.
#include "access.h"
#include "lanes.h"
#include "memory.h"

namespace ptx {
namespace {

template <class Register, class Element>
void load(Warp &warp, const Instruction &in) {
    Places places;
    locate(warp, in, Access::read, places);
    for (unsigned i = 0; i < in.count; i++) {
        write_lanes<Register>(warp, in.to[i], [&](unsigned lane) {
            Element value;
            std::memcpy(&value, places.data[lane] + i * sizeof(Element), sizeof value);
            return static_cast<Register>(value);
        });
    }
}

// A kernel's parameter: the same for all lanes.
template <class Register, class Element>
void load_parameter(Warp &warp, const Instruction &in) {
    for (unsigned i = 0; i < in.count; i++) {
        Element value;
        std::memcpy(&value, warp.machine->parameters + in.offset + i * sizeof value, sizeof value);
        write_lanes<Register>(warp, in.to[i],
                              [=](unsigned) { return static_cast<Register>(value); });
    }
}

void mark_stored(Warp &warp, const Instruction &in, const Places &places, unsigned element) {
    uint32_t defined = warp.defined_lanes(in.from[1 + element]);
    each_lane(warp.active, [&](unsigned lane) {
        bool known = defined >> lane & 1;
        if (!known && !(places.within_block >> lane & 1))
            warp.fault(719, lane, "it stores a register that has no value yet");
        if (places.marks[lane])
            std::memset(places.marks[lane] + element * in.width, known, in.width);
    });
}

template <class Register, class Element>
void store(Warp &warp, const Instruction &in) {
    Places places;
    locate(warp, in, Access::write, places);
    for (unsigned i = 0; i < in.count; i++) {
        const Register *row = warp.row<Register>(in.from[1 + i]);
        each_lane(warp.active, [&](unsigned lane) {
            Element value = static_cast<Element>(row[lane]);
            std::memcpy(places.data[lane] + i * sizeof value, &value, sizeof value);
        });
        if (warp.machine->strict) mark_stored(warp, in, places, i);
    }
}

template <class Register, class Element>
struct Load {
    static constexpr Instruction::Run run = load<Register, Element>;
};
template <class Register, class Element>
struct LoadParameter {
    static constexpr Instruction::Run run = load_parameter<Register, Element>;
};
template <class Register, class Element>
struct Store {
    static constexpr Instruction::Run run = store<Register, std::make_unsigned_t<Element>>;
};

template <template <class, class> class Access, class Element>
Instruction::Run with_register(unsigned bytes) {
    return with_bits(bytes, [](auto word) -> Instruction::Run {
        using Register = decltype(word);
        if constexpr (sizeof(Register) < sizeof(Element)) return nullptr;
        else return Access<Register, Element>::run;
    });
}

// A function for an element of `type` and a register of `bytes`, which is as wide or wider.
template <template <class, class> class Access>
Instruction::Run access_run(Type type, unsigned bytes) {
    return with_integer(
        type, [=](auto element) { return with_register<Access, decltype(element)>(bytes); });
}

// ---------------------------------------------------------------- decoders

uint8_t vector_of(Form &form) {
    std::string_view name = form.one_of({"v2", "v4"});
    return name.empty() ? 1 : static_cast<uint8_t>(name[1] - '0');
}

// The operands in {a, b}, or the one that stands alone.
std::vector<OperandSyntax> elements(Form &form, uint8_t count) {
    const OperandSyntax &operand = form.next();
    if (count == 1) {
        if (operand.kind == OperandSyntax::list && operand.elements.size() == 1)
            return operand.elements;
        return {operand};
    }
    if (operand.kind != OperandSyntax::list || operand.elements.size() != count)
        form.refuse("a vector of " + std::to_string(count) + " elements is expected");
    return operand.elements;
}

Type element_type(Form &form) {
    Type type = form.type();
    if (size_of(type) == 0) form.refuse("memory holds no predicates");
    return type;
}

// The type of the registers, which may be wider than what is in memory, but all alike.
Type common_type(Form &form, const std::vector<OperandSyntax> &operands, Type type) {
    Type result = Type::none;
    for (const OperandSyntax &operand : operands) {
        Type actual = form.register_type(operand);
        if (actual == Type::none) continue;
        if (size_of(actual) < size_of(type)) form.refuse("a register is too small");
        if (result != Type::none && size_of(actual) != size_of(result))
            form.refuse("registers of several sizes");
        result = actual;
    }
    return result == Type::none ? type : result;
}

// Whether the address is a kernel's parameter by name. A parameter of a function called is in the
// frame of the thread.
bool names_parameter(Form &form) {
    const OperandSyntax &operand = form.peek();
    if (form.in.space != Space::parameter || !operand.has_base) return false;
    Symbol *symbol = form.symbol(operand.text);
    if (!symbol || symbol->kind != Symbol::variable) return false;
    if (!symbol->entry_parameter) form.in.space = Space::local;
    return symbol->entry_parameter;
}

void parameter_offset(Form &form) {
    const OperandSyntax &operand = form.next();
    const Symbol &symbol = form.needed_symbol(operand.text);
    int64_t bytes = form.in.width * form.in.count;
    if (operand.offset < 0 || operand.offset + bytes > static_cast<int64_t>(symbol.size))
        form.refuse("it reads beyond the parameter");
    form.in.offset = static_cast<int64_t>(symbol.address) + operand.offset;
    if (form.in.offset % bytes) form.refuse("the parameter is misaligned");
}

void decode_load(Form &form) {
    form.in.space = take_space(form);
    bool hint = take_order_and_caches(form);
    form.in.count = vector_of(form);
    Type type = element_type(form);
    form.in.width = static_cast<uint8_t>(size_of(type));
    auto results = elements(form, form.in.count);
    Type register_type = common_type(form, results, type);
    for (const OperandSyntax &result : results) form.add_to(result, register_type);
    if (names_parameter(form)) {
        parameter_offset(form);
        form.emit(access_run<LoadParameter>(type, size_of(register_type)));
        return;
    }
    form.address();
    take_cache_policy(form, hint);
    form.in.consumes = 1;
    form.in.site = form.decoding().code.sites++;
    form.emit(access_run<Load>(type, size_of(register_type)));
}

void decode_store(Form &form) {
    form.in.space = take_space(form);
    bool hint = take_order_and_caches(form);
    form.in.count = vector_of(form);
    Type type = element_type(form);
    form.in.width = static_cast<uint8_t>(size_of(type));
    if (names_parameter(form)) form.refuse("a kernel's parameters can't be written");
    if (form.in.space == Space::constant) form.refuse("constant memory can't be written");
    form.address();
    auto values = elements(form, form.in.count);
    Type register_type = common_type(form, values, type);
    for (const OperandSyntax &value : values) form.add_from(value, register_type);
    take_cache_policy(form, hint);
    form.in.consumes = 1;
    form.in.site = form.decoding().code.sites++;
    form.emit(access_run<Store>(type, size_of(register_type)));
}

void nothing(Warp &, const Instruction &) {}

void decode_prefetch(Form &form) {
    take_space(form);
    form.without_effect({"L1", "L2", "L2::evict_last", "L2::evict_normal"});
    form.address();
    form.emit(nothing);
}

void decode_fence(Form &form) {
    form.without_effect(
        {"sc", "acq_rel", "acquire", "release", "cta", "cluster", "gpu", "sys", "gl"});
    form.emit(nothing);
}

void decode_nanosleep(Form &form) {
    form.type_of({Type::u32});
    form.from(Type::u32);
    form.emit(nothing);
}

}  // namespace

Space take_space(Form &form) {
    static constexpr std::pair<std::string_view, Space> spaces[] = {
        {"global", Space::global},       {"shared", Space::shared},
        {"shared::cta", Space::shared},  {"local", Space::local},
        {"const", Space::constant},      {"param", Space::parameter},
        {"param::entry", Space::parameter}, {"param::func", Space::parameter}};
    for (auto [name, space] : spaces)
        if (form.take(name)) return space;
    return Space::generic;
}

bool take_order_and_caches(Form &form) {
    form.without_effect({"weak", "volatile", "relaxed", "acquire", "release", "cta", "cluster",
                         "gpu", "sys", "mmio", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt",
                         "unified"});
    form.without_effect({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                         "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B",
                         "L2::evict_last", "L2::evict_normal", "L2::evict_first"});
    return form.take("L2::cache_hint");
}

void take_cache_policy(Form &form, bool present) {
    if (present && form.register_type(form.next()) != Type::b64)
        form.refuse("a cache policy is a register of 64 bits");
}

void add_memory_opcodes(Opcodes &opcodes) {
    opcodes["ld"] = opcodes["ldu"] = decode_load;
    opcodes["st"] = decode_store;
    opcodes["prefetch"] = opcodes["prefetchu"] = decode_prefetch;
    opcodes["membar"] = opcodes["fence"] = decode_fence;
    opcodes["nanosleep"] = decode_nanosleep;
}

}  // namespace ptx
