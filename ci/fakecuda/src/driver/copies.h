// Copies and fills.
#pragma once

#include "counters.h"
#include "streams.h"

namespace fakecuda {

// Which ends of a copy must be where.
enum class End { device, host, either };

struct CopyEnds {
    End destination = End::either, source = End::either;
};

// `height` rows of `width` bytes. A plain copy is one row.
struct Region {
    uint64_t destination = 0, source = 0;
    size_t width = 0, height = 1;
    size_t destination_pitch = 0, source_pitch = 0;

    size_t bytes() const { return width * height; }
};

Region line(const void *destination, const void *source, size_t bytes);

// A copy on a stream, which returns before it is done where CUDA allows that.
void copy_async(const Region &region, CopyEnds ends, const StreamPointer &stream);
// A copy on the legacy stream, which is done when it returns, but for copies inside the device.
void copy(const Region &region, CopyEnds ends);

// `count` elements of `size` bytes, each `value`, in `height` rows.
struct Filling {
    uint64_t destination = 0;
    uint32_t value = 0;
    size_t size = 1;
    size_t width = 0, height = 1, pitch = 0;
};
void fill(const Filling &filling, const StreamPointer &stream);

}  // namespace fakecuda
