#include "copies.h"

#include <cstring>
#include <optional>

#include "capture.h"
#include "memory.h"

namespace fakecuda {

namespace {

size_t span(size_t width, size_t height, size_t pitch) {
    return height == 0 || width == 0 ? 0 : (height - 1) * pitch + width;
}

// Memory that the host alone knows: neither device memory nor pinned.
bool pageable(uint64_t address) { return find_allocation(address) == nullptr; }

bool device_side(uint64_t address) {
    const Allocation *allocation = find_allocation(address);
    return allocation != nullptr && !allocation->on_host();
}

// One end of a copy: what CUDA knows of the memory must hold the range, and be where it should.
void check_end(uint64_t address, size_t bytes, End end, const char *name) {
    const Allocation *allocation = find_allocation(address);
    if (allocation != nullptr && address + bytes > allocation->end()) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s, %s: ", api_name(), name) + describe_range(address, bytes));
    }
    if (end == End::device && allocation == nullptr) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: the %s should be device memory: ", api_name(), name) +
                        describe_range(address, bytes));
    }
    const bool only_device = allocation != nullptr && !allocation->on_host() &&
                             allocation->kind != MemoryKind::managed;
    if (end == End::host && only_device) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: the %s should be host memory: ", api_name(), name) +
                        describe_range(address, bytes));
    }
    if (allocation == nullptr && address == 0) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: the %s is a null pointer", api_name(), name));
    }
}

CopyKind kind_of(const Region &region) {
    const Allocation *to = find_allocation(region.destination);
    const Allocation *from = find_allocation(region.source);
    const bool to_device = device_side(region.destination);
    const bool from_device = device_side(region.source);
    if (to_device && from_device) {
        return to->device == from->device ? CopyKind::device_to_device : CopyKind::peer;
    }
    return to_device     ? CopyKind::host_to_device
           : from_device ? CopyKind::device_to_host
                         : CopyKind::host_to_host;
}

void check_region(const Region &region, CopyEnds ends) {
    if (region.height > 1 &&
        (region.width > region.destination_pitch || region.width > region.source_pitch)) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": rows are wider than their pitch");
    }
    check_end(region.destination, span(region.width, region.height, region.destination_pitch),
              ends.destination, "destination");
    check_end(region.source, span(region.width, region.height, region.source_pitch), ends.source,
              "source");
}

// Marks of strict mode go with the bytes, so that copying memory which nothing wrote is no fault,
// and reading the copy is one. The host reads what it gets.
void copy_marks(const Region &region, size_t row) {
    const uint64_t destination = region.destination + row * region.destination_pitch;
    const uint64_t source = region.source + row * region.source_pitch;
    Allocation *to = find_allocation(destination);
    const Allocation *from = find_allocation(source);
    const bool source_marked = from != nullptr && from->written;
    if (to != nullptr && to->written && source_marked) {
        std::memmove(to->written.get() + (destination - to->begin),
                     from->written.get() + (source - from->begin), region.width);
    } else if (to != nullptr && to->written) {
        mark_written(destination, region.width);
    } else if (source_marked) {
        if (size_t hole = first_unwritten(source, region.width); hole < region.width) {
            throw Fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        "copy to the host of memory that nothing wrote: " +
                            format("byte %zu of ", hole) + describe_range(source, region.width));
        }
    }
}

// Memory may have been freed since the copy was put on its stream, or since its graph was captured.
void check_live(uint64_t address, size_t bytes, bool known) {
    const Allocation *allocation = find_allocation(address);
    if (known && (allocation == nullptr || address + bytes > allocation->end())) {
        throw Fault(CUDA_ERROR_ILLEGAL_ADDRESS, "copy: " + describe_range(address, bytes));
    }
}

class Copy : public Operation {
public:
    explicit Copy(const Region &region)
        : region(region), kind(kind_of(region)), known_destination(!pageable(region.destination)),
          known_source(!pageable(region.source)) {}

    // Reads pageable memory now: the caller may change it as soon as the call returns.
    void stage() {
        staged.resize(region.bytes());
        for (size_t row = 0; row < region.height; row++) {
            std::memcpy(staged.data() + row * region.width,
                        reinterpret_cast<const void *>(region.source + row * region.source_pitch),
                        region.width);
        }
        region.source = reinterpret_cast<uint64_t>(staged.data());
        region.source_pitch = region.width;
    }

    CUgraphNodeType type() const override { return CU_GRAPH_NODE_TYPE_MEMCPY; }
    std::string describe() const override {
        return format("a copy of %zu bytes %s", region.bytes(), copy_name(kind));
    }
    void count() const override {
        count_copy(kind, region.bytes());
        if (logging()) {
            log(describe());
        }
    }
    void run() const override {
        check_live(region.destination,
                   span(region.width, region.height, region.destination_pitch), known_destination);
        check_live(region.source, span(region.width, region.height, region.source_pitch),
                   known_source);
        for (size_t row = 0; row < region.height; row++) {
            copy_marks(region, row);
            std::memmove(
                reinterpret_cast<void *>(region.destination + row * region.destination_pitch),
                reinterpret_cast<const void *>(region.source + row * region.source_pitch),
                region.width);
        }
    }
    std::string differs(const Operation &other) const override {
        const auto &copy = static_cast<const Copy &>(other);
        const bool same = copy.kind == kind && (copy.region.height > 1) == (region.height > 1);
        return same ? "" : describe() + " became " + copy.describe();
    }

private:
    Region region;
    CopyKind kind;
    bool known_destination, known_source;
    std::vector<char> staged;
};

struct Place {
    bool to_pageable, from_pageable;
};

Place place_of(const Region &region) {
    return {pageable(region.destination), pageable(region.source)};
}

void wait_until_done(const Moment &moment) {
    count_wait();
    run_until(moment);
    check_failure(*moment.stream->context);
}

class Fill : public Operation {
public:
    explicit Fill(const Filling &filling) : filling(filling) {}

    CUgraphNodeType type() const override { return CU_GRAPH_NODE_TYPE_MEMSET; }
    std::string describe() const override { return format("a fill of %zu bytes", bytes()); }
    void count() const override {
        count_copy(CopyKind::fill, bytes());
        if (logging()) {
            log(describe());
        }
    }
    void run() const override {
        check_live(filling.destination,
                   span(filling.width * filling.size, filling.height, filling.pitch), true);
        for (size_t row = 0; row < filling.height; row++) {
            const uint64_t begin = filling.destination + row * filling.pitch;
            fill_row(reinterpret_cast<char *>(begin));
            mark_written(begin, filling.width * filling.size);
        }
    }
    std::string differs(const Operation &other) const override {
        const auto &fill = static_cast<const Fill &>(other);
        const bool same = fill.filling.size == filling.size &&
                          (fill.filling.height > 1) == (filling.height > 1);
        return same ? "" : describe() + " became " + fill.describe();
    }

private:
    void fill_row(char *row) const {
        if (filling.size == 1) {
            std::memset(row, static_cast<int>(filling.value), filling.width);
            return;
        }
        for (size_t element = 0; element < filling.width; element++) {
            std::memcpy(row + element * filling.size, &filling.value, filling.size);
        }
    }
    size_t bytes() const { return filling.width * filling.height * filling.size; }

    Filling filling;
};

}  // namespace

Region line(const void *destination, const void *source, size_t bytes) {
    return {.destination = reinterpret_cast<uint64_t>(destination),
            .source = reinterpret_cast<uint64_t>(source), .width = bytes,
            .destination_pitch = bytes, .source_pitch = bytes};
}

void copy_async(const Region &region, CopyEnds ends, const StreamPointer &stream) {
    if (region.bytes() == 0) {
        return;
    }
    check_region(region, ends);
    const auto [to_pageable, from_pageable] = place_of(region);
    auto operation = std::make_shared<Copy>(region);
    if (stream->capture) {
        submit(stream, operation);
        return;
    }
    const bool host_only = !device_side(region.destination) && !device_side(region.source);
    if (from_pageable && !to_pageable && !host_only) {
        operation->stage();
    }
    const Moment moment = submit(stream, operation);
    if (to_pageable || host_only) {
        wait_until_done(moment);
    }
}

void copy(const Region &region, CopyEnds ends) {
    check_unsafe_call();
    const StreamPointer stream = stream_for_work(nullptr);
    if (region.bytes() == 0) {
        return;
    }
    check_region(region, ends);
    const bool inside = device_side(region.destination) && device_side(region.source);
    const Moment moment = submit(stream, std::make_shared<Copy>(region));
    if (!inside) {
        wait_until_done(moment);
    }
}

void fill(const Filling &filling, const StreamPointer &stream) {
    const size_t row = filling.width * filling.size;
    if (row * filling.height == 0) {
        return;
    }
    if (filling.height > 1 && row > filling.pitch) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": rows are wider than their pitch");
    }
    if (filling.destination % filling.size != 0) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": the destination is not aligned to the elements");
    }
    check_end(filling.destination, span(row, filling.height, filling.pitch), End::device,
              "destination");
    submit(stream, std::make_shared<Fill>(filling));
}

}  // namespace fakecuda
