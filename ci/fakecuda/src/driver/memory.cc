#include "memory.h"

#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace fakecuda {

namespace {

constexpr int fresh_byte = 0xff;  // NaN in every floating-point format, -1 in every integer one
constexpr int freed_byte = 0xdd;
constexpr size_t red_zone = 512;  // bytes after each allocation that belong to none
constexpr size_t quarantine_limit = size_t{128} << 20;
constexpr size_t freed_limit = 4096;

// Where memory was that is not there any more, for the message about its use.
struct Freed {
    size_t bytes;
    int device;
};

// Never destroyed: threads may use the driver while the process ends.
auto &allocations = *new std::map<uint64_t, Allocation>;
auto &freed = *new std::map<uint64_t, Freed>;
auto &used = *new std::map<int, size_t>;
auto &quarantine = *new std::deque<std::pair<void *, size_t>>;  // freed, and not used again yet
size_t quarantined = 0;
uint64_t last_id = 0;

bool counts_as_device_memory(MemoryKind kind) {
    return kind != MemoryKind::pinned && kind != MemoryKind::registered;
}

// Memory that the host cannot write behind the driver's back.
bool tracks_writes(MemoryKind kind) {
    return kind == MemoryKind::device;
}

void forget_freed(uint64_t begin, uint64_t end) {
    auto entry = freed.upper_bound(begin);
    if (entry != freed.begin()) {
        auto before = std::prev(entry);
        entry = before->first + before->second.bytes > begin ? before : entry;
    }
    while (entry != freed.end() && entry->first < end) {
        entry = freed.erase(entry);
    }
}

// Keeps freed memory for a while, so that its use is found before it belongs to another allocation.
void put_into_quarantine(void *memory, size_t bytes) {
    quarantine.emplace_back(memory, bytes);
    quarantined += bytes;
    while (quarantined > quarantine_limit) {
        auto [oldest, size] = quarantine.front();
        quarantine.pop_front();
        quarantined -= size;
        std::free(oldest);
    }
}

const char *kind_name(MemoryKind kind) {
    switch (kind) {
        case MemoryKind::device: return "device memory";
        case MemoryKind::managed: return "managed memory";
        case MemoryKind::pinned: return "pinned host memory";
        case MemoryKind::registered: return "registered host memory";
        case MemoryKind::variable: return "a module's variable";
        case MemoryKind::constant: return "constant memory";
    }
    return "memory";
}

std::string describe(const Allocation &allocation) {
    std::string where = allocation.on_host() ? "" : format(" of device %d", allocation.device);
    return format("%zu bytes of %s%s at %#lx", allocation.bytes, kind_name(allocation.kind),
                  where.c_str(), allocation.begin);
}

const std::pair<const uint64_t, Freed> *find_freed(uint64_t address) {
    auto entry = freed.upper_bound(address);
    if (entry == freed.begin()) {
        return nullptr;
    }
    --entry;
    return address < entry->first + entry->second.bytes ? &*entry : nullptr;
}

}  // namespace

std::string format(const char *pattern, ...) {
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
    va_end(arguments);
    std::vsnprintf(text.data(), text.size() + 1, pattern, again);
    va_end(again);
    return text;
}

Allocation &allocate(size_t bytes, MemoryKind kind, int device, size_t align) {
    const bool on_device = counts_as_device_memory(kind);
    if (on_device && (bytes > device_memory || used[device] + bytes > device_memory)) {
        refuse(CUDA_ERROR_OUT_OF_MEMORY);
    }
    const size_t unit = std::max<size_t>(align, 512);
    const size_t reserved = (bytes + red_zone + unit - 1) / unit * unit;
    void *memory = std::aligned_alloc(unit, reserved);
    if (memory == nullptr) {
        throw Fault(CUDA_ERROR_OUT_OF_MEMORY,
                    format("%s: this machine has no %zu bytes to play device memory", api_name(),
                           bytes));
    }
    std::memset(memory, fresh_byte, reserved);
    const auto begin = reinterpret_cast<uint64_t>(memory);
    forget_freed(begin, begin + reserved);
    Allocation &allocation = allocations[begin];
    allocation = Allocation{.begin = begin, .bytes = bytes, .kind = kind, .device = device,
                            .id = ++last_id};
    if (strict() && tracks_writes(kind)) {
        allocation.written = std::make_unique<uint8_t[]>(bytes);
    }
    if (on_device) {
        used[device] += bytes;
    }
    return allocation;
}

Allocation &register_host(void *pointer, size_t bytes, unsigned flags, int device) {
    const auto begin = reinterpret_cast<uint64_t>(pointer);
    auto next = allocations.lower_bound(begin);
    const bool overlaps = (next != allocations.end() && next->first < begin + bytes) ||
                          find_allocation(begin) != nullptr;
    if (overlaps) {
        refuse(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    }
    forget_freed(begin, begin + bytes);
    Allocation &allocation = allocations[begin];
    allocation = Allocation{.begin = begin, .bytes = bytes, .kind = MemoryKind::registered,
                            .device = device, .flags = flags, .id = ++last_id};
    return allocation;
}

void release(Allocation &allocation) {
    if (counts_as_device_memory(allocation.kind)) {
        used[allocation.device] -= allocation.bytes;
    }
    if (allocation.pool != nullptr) {
        give_back(allocation.pool, allocation.bytes);
    }
    const uint64_t begin = allocation.begin;
    if (allocation.kind != MemoryKind::registered) {
        void *memory = reinterpret_cast<void *>(begin);
        std::memset(memory, freed_byte, allocation.bytes);
        if (freed.size() >= freed_limit) {
            freed.clear();
        }
        freed[begin] = Freed{allocation.bytes, allocation.device};
        put_into_quarantine(memory, allocation.bytes);
    }
    allocations.erase(begin);
}

void release_device(int device) {
    for (auto entry = allocations.begin(); entry != allocations.end();) {
        Allocation &allocation = (entry++)->second;
        const bool variable = allocation.kind == MemoryKind::variable ||
                              allocation.kind == MemoryKind::constant;  // their module frees them
        if (allocation.device == device && !variable) {
            release(allocation);
        }
    }
}

Allocation *find_allocation(uint64_t address) {
    auto entry = allocations.upper_bound(address);
    if (entry == allocations.begin()) {
        return nullptr;
    }
    Allocation &allocation = std::prev(entry)->second;
    return address < allocation.end() ? &allocation : nullptr;
}

Allocation &allocation_at(const void *pointer) {
    const auto address = reinterpret_cast<uint64_t>(pointer);
    auto entry = allocations.find(address);
    if (entry != allocations.end()) {
        return entry->second;
    }
    std::string reason = "no allocation lies there";
    if (const Allocation *around = find_allocation(address)) {
        reason = "it points into " + describe(*around);
    } else if (find_freed(address) != nullptr) {
        reason = "that memory was freed before";
    }
    throw Fault(CUDA_ERROR_INVALID_VALUE,
                format("%s: %#lx is not the start of an allocation: %s", api_name(), address,
                       reason.c_str()));
}

bool visible(const Allocation &allocation, int device) {
    return allocation.device == device || allocation.on_host() ||
           allocation.kind == MemoryKind::managed || peer_access(device, allocation.device);
}

size_t memory_used(int device) { return used[device]; }

std::string describe_range(uint64_t address, size_t bytes) {
    const std::string range = format("%zu bytes at %#lx", bytes, address);
    if (const Allocation *allocation = find_allocation(address)) {
        if (address + bytes > allocation->end()) {
            return range + format(" run %zu bytes past the end of ",
                                  static_cast<size_t>(address + bytes - allocation->end())) +
                   describe(*allocation);
        }
        return range + " lie in " + describe(*allocation);
    }
    if (const auto *entry = find_freed(address)) {
        return range + format(" lie in %zu bytes at %#lx of device %d, which were freed",
                              entry->second.bytes, entry->first, entry->second.device);
    }
    auto next = allocations.upper_bound(address);
    if (next != allocations.begin()) {
        const Allocation &below = std::prev(next)->second;
        if (address - below.end() <= red_zone) {
            return range + format(" lie %lu bytes after the end of ", address - below.end()) +
                   describe(below);
        }
    }
    if (next != allocations.end() && next->first - address <= red_zone) {
        return range + format(" lie %lu bytes before the start of ", next->first - address) +
               describe(next->second);
    }
    return range + " lie in no allocation (host memory that is not pinned, or a wild pointer)";
}

void mark_written(uint64_t address, size_t bytes) {
    Allocation *allocation = find_allocation(address);
    if (allocation != nullptr && allocation->written) {
        std::memset(allocation->written.get() + (address - allocation->begin), 1, bytes);
    }
}

size_t first_unwritten(uint64_t address, size_t bytes) {
    const Allocation *allocation = find_allocation(address);
    if (allocation == nullptr || !allocation->written || bytes == 0) {
        return bytes;
    }
    const uint8_t *written = allocation->written.get() + (address - allocation->begin);
    const auto *hole = static_cast<const uint8_t *>(std::memchr(written, 0, bytes));
    return hole == nullptr ? bytes : static_cast<size_t>(hole - written);
}

// ---------------------------------------------------------------- standin.h

namespace {

bool has_mode(const char *mode) {
    const char *value = std::getenv("FAKECUDA_MODE");
    const std::string modes = "," + std::string(value == nullptr ? "" : value) + ",";
    return modes.find("," + std::string(mode) + ",") != std::string::npos;
}

}  // namespace

bool strict() {
    static const bool on = has_mode("strict");
    return on;
}

bool lazy() {
    static const bool on = has_mode("lazy");
    return on;
}

Extent extent(uint64_t address, int device) {
    const Allocation *allocation = find_allocation(address);
    if (allocation == nullptr || !visible(*allocation, device)) {
        return {};
    }
    return {.begin = allocation->begin, .end = allocation->end(),
            .written = allocation->written.get(),
            .read_only = allocation->kind == MemoryKind::constant};
}

void bad_access(uint64_t address, size_t bytes, bool write, int device) {
    std::string reason = describe_range(address, bytes);
    const Allocation *allocation = find_allocation(address);
    if (allocation != nullptr && !visible(*allocation, device)) {
        reason += format(", to which device %d has no peer access", device);
    }
    throw Fault(CUDA_ERROR_ILLEGAL_ADDRESS, std::string(write ? "write" : "read") +
                                                " outside of memory: " + reason);
}

}  // namespace fakecuda

using namespace fakecuda;

FAKECUDA_EXPORT int fakecuda_check(uint64_t address, size_t bytes, int write, const char *what) {
    if (bytes == 0) {
        return CUDA_SUCCESS;
    }
    std::lock_guard<std::mutex> lock(state_mutex);
    try {
        const int device = device_in_use();
        const Extent found = extent(address, device);
        if (found.end < address + bytes) {
            bad_access(address, bytes, write != 0, device);
        }
        if (write != 0) {
            mark_written(address, bytes);
        } else if (size_t hole = first_unwritten(address, bytes); hole < bytes) {
            throw Fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        format("read of memory that nothing wrote: byte %zu of ", hole) +
                            describe_range(address, bytes));
        }
        return CUDA_SUCCESS;
    } catch (const Fault &fault) {
        return report(Fault(fault.code, std::string(what) + ": " + fault.what()));
    }
}
