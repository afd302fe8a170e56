// mov, addresses and special registers.
#include <chrono>

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

struct Copy {
    template <class T>
    static T apply(T a) { return a; }
};

void move_predicate(Warp &warp, const Instruction &in) {
    warp.set_predicate(in.to[0], warp.predicate(in.from[0]));
}

template <class Whole, class Part>
void pack(Warp &warp, const Instruction &in) {
    constexpr unsigned parts = sizeof(Whole) / sizeof(Part), bits = 8 * sizeof(Part);
    write_lanes<Whole>(warp, in.to[0], [&](unsigned lane) {
        Whole result = 0;
        for (unsigned i = 0; i < parts; i++)
            result |= static_cast<Whole>(warp.row<Part>(in.from[i])[lane])
                      << (i * bits % (8 * sizeof(Whole)));
        return result;
    });
}

template <class Whole, class Part>
void unpack(Warp &warp, const Instruction &in) {
    constexpr unsigned parts = sizeof(Whole) / sizeof(Part), bits = 8 * sizeof(Part);
    const Whole *whole = warp.row<Whole>(in.from[0]);
    for (unsigned i = 0; i < parts; i++)
        write_lanes<Part>(warp, in.to[i], [=](unsigned lane) {
            return static_cast<Part>(whole[lane] >> (i * bits));
        });
}

template <template <class, class> class Form2>
Instruction::Run parts_run(unsigned whole, unsigned parts) {
    if (whole == 2 && parts == 2) return Form2<uint16_t, uint8_t>::run;
    if (whole == 4 && parts == 2) return Form2<uint32_t, uint16_t>::run;
    if (whole == 4 && parts == 4) return Form2<uint32_t, uint8_t>::run;
    if (whole == 8 && parts == 2) return Form2<uint64_t, uint32_t>::run;
    if (whole == 8 && parts == 4) return Form2<uint64_t, uint16_t>::run;
    return nullptr;
}
template <class Whole, class Part>
struct Pack {
    static constexpr Instruction::Run run = pack<Whole, Part>;
};
template <class Whole, class Part>
struct Unpack {
    static constexpr Instruction::Run run = unpack<Whole, Part>;
};

Type part_type(Form &form, Type whole, size_t parts) {
    switch (parts ? size_of(whole) / parts : 0) {
        case 1: return Type::b8;
        case 2: return Type::b16;
        case 4: return Type::b32;
        default: form.refuse("a vector of another size is expected");
    }
}

void decode_mov(Form &form) {
    Type type = form.type();
    OperandSyntax to = form.next(), from = form.next();
    if (to.kind == OperandSyntax::list) {
        Type part = part_type(form, type, to.elements.size());
        for (const OperandSyntax &element : to.elements) form.add_to(element, part);
        form.add_from(from, type);
        return form.emit(parts_run<Unpack>(size_of(type), to.elements.size()));
    }
    form.add_to(to, type);
    if (from.kind == OperandSyntax::list) {
        Type part = part_type(form, type, from.elements.size());
        for (const OperandSyntax &element : from.elements) form.add_from(element, part);
        return form.emit(parts_run<Pack>(size_of(type), from.elements.size()));
    }
    form.add_from(from, type);
    if (type == Type::pred) return form.emit(move_predicate);
    form.emit(with_bits(size_of(type), [](auto zero) -> Instruction::Run {
        return unary<Copy, decltype(zero), decltype(zero)>;
    }));
}

// ---------------------------------------------------------------- spaces

void add_constant(Warp &warp, const Instruction &in) {
    const uint64_t *a = warp.row<uint64_t>(in.from[0]);
    uint64_t offset = static_cast<uint64_t>(in.offset);
    write_lanes<uint64_t>(warp, in.to[0], [=](unsigned lane) { return a[lane] + offset; });
}

std::string_view space_name(Form &form) {
    std::string_view name =
        form.needed({"global", "const", "shared", "shared::cta", "local", "param", "param::entry"});
    return name;
}

void decode_cvta(Form &form) {
    bool to_space = form.take("to");
    std::string_view space = space_name(form);
    form.type_of({Type::u64});
    form.to(Type::u64);
    form.from(Type::u64);
    uint64_t window = space.starts_with("shared") ? shared_window
                      : space == "local"          ? local_window
                                                  : 0;
    form.in.offset = static_cast<int64_t>(to_space ? -window : window);
    form.emit(add_constant);
}

template <uint64_t window>
bool inside(uint64_t address) { return address - window < window_bytes; }

bool in_global_memory(uint64_t address) {
    return !inside<shared_window>(address) && !inside<local_window>(address) &&
           !inside<parameter_window>(address);
}

template <bool (*test)(uint64_t)>
void test_space(Warp &warp, const Instruction &in) {
    const uint64_t *a = warp.row<uint64_t>(in.from[0]);
    warp.set_predicate(in.to[0], test_lanes(warp, [=](unsigned lane) { return test(a[lane]); }));
}

void decode_isspacep(Form &form) {
    std::string_view space = space_name(form);
    form.to_predicates();
    form.from(Type::u64);
    if (space.starts_with("shared")) form.emit(test_space<inside<shared_window>>);
    else if (space == "local") form.emit(test_space<inside<local_window>>);
    else if (space.starts_with("param")) form.emit(test_space<inside<parameter_window>>);
    else if (space == "global") form.emit(test_space<in_global_memory>);
    else form.refuse("constant memory lies among global memory here");
}

// ---------------------------------------------------------------- special registers

enum class Special : uint32_t {
    tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z, ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y,
    nctaid_z, laneid, warpid, nwarpid, smid, nsmid, gridid, lanemask_eq, lanemask_le, lanemask_lt,
    lanemask_ge, lanemask_gt, clock, clock_hi, clock64, globaltimer, globaltimer_lo, globaltimer_hi,
    dynamic_smem_size, total_smem_size, zero,
};

struct SpecialName {
    std::string_view name;
    Special special;
    Type type = Type::u32;
};

constexpr SpecialName special_names[] = {
    {"%tid.x", Special::tid_x}, {"%tid.y", Special::tid_y}, {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x}, {"%ntid.y", Special::ntid_y}, {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x}, {"%ctaid.y", Special::ctaid_y}, {"%ctaid.z", Special::ctaid_z},
    {"%nctaid.x", Special::nctaid_x}, {"%nctaid.y", Special::nctaid_y},
    {"%nctaid.z", Special::nctaid_z}, {"%laneid", Special::laneid}, {"%warpid", Special::warpid},
    {"%nwarpid", Special::nwarpid}, {"%smid", Special::smid}, {"%nsmid", Special::nsmid},
    {"%gridid", Special::gridid, Type::u64}, {"%lanemask_eq", Special::lanemask_eq},
    {"%lanemask_le", Special::lanemask_le}, {"%lanemask_lt", Special::lanemask_lt},
    {"%lanemask_ge", Special::lanemask_ge}, {"%lanemask_gt", Special::lanemask_gt},
    {"%clock", Special::clock}, {"%clock_hi", Special::clock_hi},
    {"%clock64", Special::clock64, Type::u64},
    {"%globaltimer", Special::globaltimer, Type::u64},
    {"%globaltimer_lo", Special::globaltimer_lo}, {"%globaltimer_hi", Special::globaltimer_hi},
    {"%dynamic_smem_size", Special::dynamic_smem_size},
    {"%total_smem_size", Special::total_smem_size},
    // the fourth component is always zero
    {"%tid.w", Special::zero}, {"%ntid.w", Special::zero}, {"%ctaid.w", Special::zero},
    {"%nctaid.w", Special::zero},
};

// What is the same for all lanes of a warp.
uint64_t uniform_value(const Warp &warp, Special special) {
    const Machine &machine = *warp.machine;
    auto nanoseconds = [] {
        using namespace std::chrono;
        return static_cast<uint64_t>(
            duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch())
                .count());
    };
    switch (special) {
        case Special::ntid_x: return machine.block.x;
        case Special::ntid_y: return machine.block.y;
        case Special::ntid_z: return machine.block.z;
        case Special::ctaid_x: return machine.index.x;
        case Special::ctaid_y: return machine.index.y;
        case Special::ctaid_z: return machine.index.z;
        case Special::nctaid_x: return machine.grid.x;
        case Special::nctaid_y: return machine.grid.y;
        case Special::nctaid_z: return machine.grid.z;
        case Special::warpid: return warp.number;
        case Special::nwarpid: return machine.warps_in_block;
        case Special::nsmid: return 1;
        case Special::gridid: return 1;
        case Special::clock:
        case Special::clock64: return machine.executed;
        case Special::clock_hi: return machine.executed >> 32;
        case Special::globaltimer:
        case Special::globaltimer_lo: return nanoseconds();
        case Special::globaltimer_hi: return nanoseconds() >> 32;
        case Special::dynamic_smem_size: return machine.shared.size() - machine.static_shared;
        case Special::total_smem_size: return machine.shared.size();
        default: return 0;  // smid: there is one multiprocessor
    }
}

bool is_thread_index(Special special) { return special <= Special::tid_z; }

bool differs_by_lane(Special special) {
    return special == Special::laneid ||
           (special >= Special::lanemask_eq && special <= Special::lanemask_gt);
}

uint32_t lane_value(Special special, unsigned lane) {
    uint32_t bit = 1u << lane;
    switch (special) {
        case Special::lanemask_eq: return bit;
        case Special::lanemask_lt: return bit - 1;
        case Special::lanemask_le: return (bit - 1) | bit;
        case Special::lanemask_gt: return ~((bit - 1) | bit);
        case Special::lanemask_ge: return ~(bit - 1);
        default: return lane;
    }
}

template <class T>
void write_special(Warp &warp, const Instruction &in) {
    Special special = static_cast<Special>(in.flags);
    if (is_thread_index(special)) {
        const auto &row = warp.machine->thread_index[static_cast<size_t>(special)];
        const uint32_t *index = row.data() + warp.number * lanes;
        write_lanes<T>(warp, in.to[0], [=](unsigned lane) { return T{index[lane]}; });
    } else if (differs_by_lane(special)) {
        write_lanes<T>(warp, in.to[0],
                       [=](unsigned lane) { return T{lane_value(special, lane)}; });
    } else {
        T value = static_cast<T>(uniform_value(warp, special));
        write_lanes<T>(warp, in.to[0], [=](unsigned) { return value; });
    }
}

void write_address(Warp &warp, const Instruction &in, uint64_t value) {
    if (in.width == 4)
        write_lanes<uint32_t>(warp, in.to[0],
                              [=](unsigned) { return static_cast<uint32_t>(value); });
    else
        write_lanes<uint64_t>(warp, in.to[0], [=](unsigned) { return value; });
}

}  // namespace

std::optional<SpecialRegister> special_register(std::string_view name) {
    for (const SpecialName &entry : special_names)
        if (entry.name == name)
            return SpecialRegister{static_cast<uint32_t>(entry.special), entry.type};
    return std::nullopt;
}

void read_special_register(Warp &warp, const Instruction &in) {
    if (in.width == 4) write_special<uint32_t>(warp, in);
    else write_special<uint64_t>(warp, in);
}

void read_dynamic_shared_address(Warp &warp, const Instruction &in) {
    write_address(warp, in, warp.machine->static_shared + static_cast<uint64_t>(in.offset));
}

void read_frame_address(Warp &warp, const Instruction &in) {
    write_address(warp, in, warp.frame.local + static_cast<uint64_t>(in.offset));
}

void add_move_opcodes(Opcodes &opcodes) {
    opcodes["mov"] = decode_mov;
    opcodes["cvta"] = decode_cvta;
    opcodes["isspacep"] = decode_isspacep;
}

}  // namespace ptx
