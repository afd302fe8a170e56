// Where the lanes of a warp read and write: checked addresses.
#pragma once

#include "machine.h"

namespace ptx {

enum class Access : uint8_t { read, write, update };

struct Places {
    std::byte *data[lanes];  // for the active lanes
    uint8_t *marks[lanes];   // strict mode: 1 for a byte with a value; or null
    uint32_t within_block = 0;  // strict mode: for which lanes it is shared or local memory
};

// Finds what the active lanes of a memory instruction access and checks it: bounds, alignment,
// read-only memory and, in strict mode, that what is read was written. `in.from[0]` is the address.
void locate(Warp &warp, const Instruction &in, Access access, Places &places);

// The same for one lane and any address in the generic space, as printf reads its strings.
const std::byte *locate_bytes(Warp &warp, unsigned lane, uint64_t address, unsigned bytes);

}  // namespace ptx
