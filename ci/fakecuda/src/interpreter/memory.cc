#include "memory.h"

#include <algorithm>

namespace ptx {
namespace {

struct Place {
    std::byte *data = nullptr;
    uint8_t *mark = nullptr;
    bool within_block = false;
};

const char *verb(Access access) {
    return access == Access::read ? "read" : access == Access::write ? "write" : "atomic update";
}

std::string sized(Access access, unsigned bytes) {
    return std::string(verb(access)) + " of " + std::to_string(bytes) + " bytes";
}

[[noreturn]] void outside(const Warp &warp, unsigned lane, Access access, unsigned bytes,
                          const std::string &memory, uint64_t offset, size_t size) {
    warp.fault(700, lane,
               sized(access, bytes) + " at offset " + std::to_string(static_cast<int64_t>(offset)) +
                   " of " + memory + ", which has " + std::to_string(size) + " bytes");
}

Place in_shared(Warp &warp, unsigned lane, uint64_t offset, unsigned bytes, Access access) {
    Machine &machine = *warp.machine;
    size_t size = machine.shared.size();
    if (offset > size || bytes > size - offset)
        outside(warp, lane, access, bytes, "the block's shared memory", offset, size);
    return {machine.shared.data() + offset,
            machine.strict ? machine.shared_written.data() + offset : nullptr, true};
}

Place in_local(Warp &warp, unsigned lane, uint64_t offset, unsigned bytes, Access access) {
    size_t size = warp.local_stride;
    if (offset > size || bytes > size - offset)
        outside(warp, lane, access, bytes, "the thread's local memory", offset, size);
    uint8_t *mark = warp.local_written;
    return {warp.local_of(lane) + offset,
            mark ? mark + lane * warp.local_stride + offset : nullptr, true};
}

Place in_parameters(Warp &warp, unsigned lane, uint64_t offset, unsigned bytes, Access access) {
    Machine &machine = *warp.machine;
    if (access != Access::read) warp.fault(700, lane, "a kernel's parameters can't be written");
    if (offset > machine.parameter_bytes || bytes > machine.parameter_bytes - offset)
        outside(warp, lane, access, bytes, "the kernel's parameters", offset,
                machine.parameter_bytes);
    auto *begin = const_cast<uint8_t *>(machine.parameters);  // no write gets here
    return {reinterpret_cast<std::byte *>(begin) + offset, nullptr};
}

Place in_global(Warp &warp, unsigned lane, uint64_t address, unsigned bytes, Access access,
                fakecuda::Extent &extent) {
    bool inside = address >= extent.begin && address + bytes <= extent.end;
    if (!inside) {
        int device = warp.machine->device;
        try {
            extent = fakecuda::extent(address, device);
            if (!extent.end || address + bytes > extent.end)
                fakecuda::bad_access(address, bytes, access != Access::read, device);
        } catch (const fakecuda::Fault &fault) {
            warp.fault(fault.code, lane, fault.what());
        }
    }
    if (extent.read_only && access != Access::read)
        warp.fault(700, lane, sized(access, bytes) + " in constant memory");
    uint8_t *mark = extent.written ? extent.written + (address - extent.begin) : nullptr;
    return {reinterpret_cast<std::byte *>(address), mark};
}

bool in_window(uint64_t address, uint64_t window) { return address - window < window_bytes; }

Place in_any(Warp &warp, unsigned lane, uint64_t address, unsigned bytes, Access access,
             Space space, fakecuda::Extent &extent) {
    switch (space) {
        case Space::shared: return in_shared(warp, lane, address, bytes, access);
        case Space::local: return in_local(warp, lane, address, bytes, access);
        case Space::generic:
            if (in_window(address, shared_window))
                return in_shared(warp, lane, address - shared_window, bytes, access);
            if (in_window(address, local_window))
                return in_local(warp, lane, address - local_window, bytes, access);
            [[fallthrough]];
        case Space::parameter:
            if (in_window(address, parameter_window))
                return in_parameters(warp, lane, address - parameter_window, bytes, access);
            [[fallthrough]];
        default: return in_global(warp, lane, address, bytes, access, extent);
    }
}

void check_alignment(const Warp &warp, unsigned lane, uint64_t address, unsigned bytes,
                     Access access) {
    if (address % bytes == 0) return;
    char text[160];
    std::snprintf(text, sizeof text, "%s of %u bytes at the misaligned address %#llx", verb(access),
                  bytes, static_cast<unsigned long long>(address));
    warp.fault(716, lane, text);
}

// Strict mode. To read bytes of global memory that were never written is a fault. Shared and local
// ones make the register undefined: compilers copy structures with their padding, and kernels read
// beyond what they filled and then choose something else (CuPy's scans and argmax do).
void check_written(Warp &warp, const Instruction &in, unsigned lane, const Place &place,
                   uint64_t address) {
    for (unsigned i = 0; i < unsigned{in.width} * in.count; i++) {
        if (place.mark[i]) continue;
        if (!place.within_block) {
            char text[160];
            std::snprintf(text, sizeof text,
                          "read of %u bytes at %#llx, of which byte %u was never written",
                          in.width * in.count, static_cast<unsigned long long>(address), i);
            warp.fault(700, lane, text);
        }
        warp.loaded_undefined[i / in.width] |= 1u << lane;
    }
}

void locate_slowly(Warp &warp, const Instruction &in, Access access, const uint64_t *addresses,
                   Places &places) {
    unsigned bytes = unsigned{in.width} * in.count;
    fakecuda::Extent &extent = warp.machine->sites[in.site];
    places.within_block = 0;
    each_lane(warp.active, [&](unsigned lane) {
        uint64_t address = addresses[lane];
        check_alignment(warp, lane, address, bytes, access);
        Place place = in_any(warp, lane, address, bytes, access, in.space, extent);
        places.data[lane] = place.data;
        places.marks[lane] = place.mark;
        places.within_block |= uint32_t{place.within_block} << lane;
        if (place.mark && access != Access::write) check_written(warp, in, lane, place, address);
    });
}

// The addresses of all lanes; inactive ones repeat that of an active one.
void compute_addresses(const Warp &warp, const Instruction &in, uint64_t *addresses) {
    uint64_t offset = static_cast<uint64_t>(in.offset);
    if (in.address_bytes == 4) {
        const uint32_t *row = warp.row<uint32_t>(in.from[0]);
        for (unsigned lane = 0; lane < lanes; lane++)
            addresses[lane] = static_cast<uint32_t>(row[lane] + offset);
    } else {
        const uint64_t *row = warp.row<uint64_t>(in.from[0]);
        for (unsigned lane = 0; lane < lanes; lane++) addresses[lane] = row[lane] + offset;
    }
    if (warp.active == all_lanes) return;
    uint64_t known = addresses[std::countr_zero(warp.active)];
    for (unsigned lane = 0; lane < lanes; lane++)
        addresses[lane] = warp.active >> lane & 1 ? addresses[lane] : known;
}

// Whether [address, address + bytes) is inside [begin, end) and aligned, for all lanes.
bool all_inside(const uint64_t *addresses, unsigned bytes, uint64_t begin, uint64_t end) {
    if (end - begin < bytes) return false;
    uint64_t room = end - begin - bytes, wrong = 0, low_bits = 0;
    for (unsigned lane = 0; lane < lanes; lane++) {
        uint64_t from_begin = addresses[lane] - begin;
        wrong |= from_begin | (room - from_begin);  // the top bit, where it is outside
        low_bits |= addresses[lane];
    }
    return !(wrong >> 63) && !(low_bits & (bytes - 1));
}

}  // namespace

void locate(Warp &warp, const Instruction &in, Access access, Places &places) {
    alignas(64) uint64_t addresses[lanes];
    compute_addresses(warp, in, addresses);
    Machine &machine = *warp.machine;
    unsigned bytes = unsigned{in.width} * in.count;
    if (!machine.strict) {
        if (in.space == Space::shared) {
            if (all_inside(addresses, bytes, 0, machine.shared.size())) {
                std::byte *base = machine.shared.data();
                for (unsigned lane = 0; lane < lanes; lane++)
                    places.data[lane] = base + addresses[lane];
                return;
            }
        } else if (in.space != Space::local) {
            const fakecuda::Extent &extent = machine.sites[in.site];
            bool allowed = !extent.read_only || access == Access::read;
            if (allowed && all_inside(addresses, bytes, extent.begin, extent.end)) {
                for (unsigned lane = 0; lane < lanes; lane++)
                    places.data[lane] = reinterpret_cast<std::byte *>(addresses[lane]);
                return;
            }
        }
    }
    locate_slowly(warp, in, access, addresses, places);
}

const std::byte *locate_bytes(Warp &warp, unsigned lane, uint64_t address, unsigned bytes) {
    fakecuda::Extent extent;
    return in_any(warp, lane, address, bytes, Access::read, Space::generic, extent).data;
}

}  // namespace ptx
